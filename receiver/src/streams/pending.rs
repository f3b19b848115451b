//! A request and what there is of its response.

use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Exchange, Loss, LossReason, Part, Protocol, Request, Response, Role},
};

use crate::streams::{
    body::Incoming,
    head::{RequestHead, ResponseHead},
    jsonrpc::http::Watch,
};

/// The connection that an exchange was on.
#[derive(Clone, Copy, Debug)]
pub(in crate::streams) struct Carrier {
    pub(in crate::streams) key: ConnectionKey,
    pub(in crate::streams) role: Role,
    pub(in crate::streams) tls: bool,
    pub(in crate::streams) protocol: Protocol,
}

/// A message while it arrives.
#[derive(Debug)]
pub(in crate::streams) struct Message {
    pub(in crate::streams) body: Incoming,
    pub(in crate::streams) started: Timestamp,
    pub(in crate::streams) ended: Timestamp,
    /// Bytes of its head.
    pub(in crate::streams) fields: u64,
}

impl Message {
    pub(in crate::streams) fn size(&self) -> u64 {
        self.fields + self.body.size()
    }

    pub(in crate::streams) fn push(&mut self, bytes: &[u8], time: Timestamp, held: &mut u64) {
        let before = self.body.size();
        self.body.push(bytes, time);
        *held = (*held + self.body.size()).saturating_sub(before);
        self.ended = time;
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(in crate::streams) struct Pending {
    pub(in crate::streams) index: u32,
    pub(in crate::streams) head: RequestHead,
    pub(in crate::streams) request: Message,
    /// The request came to its end, or nothing more can be known of it.
    pub(in crate::streams) asked: bool,
    pub(in crate::streams) response: Option<(ResponseHead, Message)>,
    /// The response came to its end.
    pub(in crate::streams) answered: bool,
    /// Request, response: broken for a reason that is told already.
    pub(in crate::streams) broken: [bool; 2],
    pub(in crate::streams) losses: Vec<Loss>,
    /// Whether it carries JSON-RPC.
    pub(in crate::streams) rpc: Watch,
}

impl Pending {
    pub(in crate::streams) fn size(&self) -> u64 {
        self.request.size() + self.response.as_ref().map_or(0, |(_, message)| message.size())
    }

    pub(in crate::streams) fn lose(&mut self, part: Part, reason: LossReason, bytes: u64) {
        match self.losses.iter_mut().find(|loss| (loss.part, loss.reason) == (part, reason)) {
            Some(loss) => loss.bytes = loss.bytes.saturating_add(bytes),
            None => self.losses.push(Loss { part, reason, bytes }),
        }
    }

    pub(in crate::streams) fn break_off(&mut self, part: Part, reason: LossReason, bytes: u64) {
        self.lose(part, reason, bytes);
        self.broken[usize::from(part == Part::Response)] = true;
    }

    /// The exchange. What is not whole is so for this reason; so many bytes of request and response are known to lack.
    pub(in crate::streams) fn finish(mut self, on: Carrier, reason: LossReason, left: [u64; 2]) -> Exchange {
        let [asked, answered] = self.broken;
        let mut losses = std::mem::take(&mut self.losses);
        let (body, _) = self.request.body.finish(Part::Request, self.asked && !asked, &mut losses);
        if !self.asked && !asked {
            losses.push(Loss { part: Part::Request, reason, bytes: left[0] });
        }
        let request = Request {
            method: self.head.method,
            target: self.head.target,
            headers: self.head.headers,
            body,
            started: self.request.started,
            ended: self.request.ended,
        };
        let mut terminated = false;
        let response = self.response.map(|(head, message)| {
            let (body, ended) = message.body.finish(Part::Response, self.answered && !answered, &mut losses);
            terminated = ended;
            Response {
                status: head.status,
                headers: head.headers,
                body,
                started: message.started,
                ended: message.ended,
            }
        });
        if !self.answered && !answered && !terminated {
            losses.push(Loss { part: Part::Response, reason, bytes: left[1] });
        }
        losses.sort_by_key(|loss| loss.part == Part::Response);
        Exchange {
            connection: on.key,
            index: self.index,
            role: on.role,
            tls: on.tls,
            protocol: on.protocol,
            facts: None,
            request,
            response,
            losses,
        }
    }
}

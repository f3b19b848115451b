//! The direction of requests.

use bytes::Bytes;
use pipeline::{
    Timestamp,
    observation::{LossReason, Part, Role},
};

use super::{Connection, Context, End, MOST_PENDING, MOST_STRANGE, MOST_TURNS, REUSE, lane::State};
use crate::{
    event::Direction,
    streams::{
        Notice, Verdict,
        body::Incoming,
        chunked::{Chunked, Progress},
        fields,
        head::{self, Begins, Framing, RequestHead},
        jsonrpc::http::{self, Watch},
        pending::{Message, Pending},
    },
};

impl Connection {
    /// Takes a piece of requests.
    pub(super) fn ask(&mut self, mut bytes: &[u8], mut border: bool, context: &mut Context<'_>) {
        let (asking, time) = (self.asking(), context.time);
        while !bytes.is_empty() {
            if self.switched.is_some() {
                // The answer to the request before had come already, and ended HTTP/1 here.
                return self.feed(asking, Bytes::copy_from_slice(bytes), false, context);
            }
            if border && self.asks_anew(bytes) {
                // Bytes of the body were lost without a trace: its answer is there, and here is the next request.
                let left = self.lane(asking).left();
                if let Some(pending) = self.pending.back_mut() {
                    pending.break_off(Part::Request, LossReason::Dropped, left);
                }
                self.asked(context);
            }
            let lane = match asking {
                Direction::Read => &mut self.read,
                Direction::Write => &mut self.write,
            };
            match &mut lane.state {
                State::Skip if border => lane.state = State::Start { in_step: false },
                State::Skip => {
                    self.strange = self.strange.saturating_add(bytes.len() as u64);
                    if self.turns > MOST_TURNS * 4 || self.strange > MOST_STRANGE {
                        self.foreign(Verdict::NotHttp, context);
                    }
                    return;
                }
                State::Start { .. } => match lane.first_line(&mut bytes, border, time, head::request) {
                    Begins::Yes => {
                        lane.state = State::Head;
                        let started = lane.started;
                        self.began();
                        self.before_next(started, border, context);
                    }
                    Begins::Maybe => return,
                    Begins::Http2 => {
                        let mut preface = std::mem::take(&mut lane.head);
                        preface.extend_from_slice(bytes);
                        self.begin_another(asking, context);
                        return self.feed(asking, preface.into(), true, context);
                    }
                    Begins::No => {
                        lane.lose();
                        border = false;
                        continue;
                    }
                },
                State::Head => match lane.rest_of_head(&mut bytes) {
                    None => return,
                    Some(true) => self.request_head(context),
                    Some(false) => self.lost_request(LossReason::TooLarge, 0, context),
                },
                State::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    *left -= take as u64;
                    bytes = rest;
                    let done = *left == 0;
                    if let Some(pending) = self.pending.back_mut() {
                        pending.request.push(now, time, context.held);
                    }
                    if done {
                        self.asked(context);
                    }
                }
                State::Chunked(chunked) => {
                    let Some(pending) = self.pending.back_mut() else { return lane.lose() };
                    pending.request.ended = time;
                    match chunked.feed(bytes, |data| pending.request.push(data, time, context.held)) {
                        Progress::More => return,
                        Progress::Done(taken) => {
                            bytes = bytes.get(taken..).unwrap_or_default();
                            self.asked(context);
                        }
                        Progress::Bad => {
                            pending.break_off(Part::Request, LossReason::Undecodable, 0);
                            self.asked(context);
                            self.lane(asking).lose();
                        }
                    }
                }
                // Requests have no such body.
                State::Close | State::Rejoin => lane.lose(),
            }
            // A border is the beginning of the piece; a state that takes nothing leaves it.
            border = border
                && matches!(self.lane(asking).state, State::Start { in_step: false })
                && self.lane(asking).head.is_empty();
        }
    }

    /// True if this call begins the next request although the present one has not ended.
    pub(super) fn asks_anew(&mut self, bytes: &[u8]) -> bool {
        let asking = self.asking();
        matches!(self.lane(asking).state, State::Length(_) | State::Chunked(_))
            && self.pending.back().is_some_and(|pending| pending.answered)
            && head::begins_with(bytes, head::request)
    }

    /// The first line of a request came: is what is still open really before it on the same connection?
    pub(super) fn before_next(&mut self, started: Timestamp, border: bool, context: &mut Context<'_>) {
        let answering = self.answering();
        let Some(front) = self.pending.front() else { return };
        let lane = self.lane_ref(answering);
        let idle = matches!(lane.state, State::Start { .. } | State::Skip) && lane.head.is_empty();
        let reused = match lane.state {
            // The connection ended with this body, so this is another one.
            State::Close => front.asked && front.response.is_some(),
            _ => {
                border
                    && idle
                    && front.asked
                    && front.response.is_none()
                    && matches!(front.head.method.as_str(), "POST" | "PATCH")
                    && started > front.request.ended.plus(REUSE)
            }
        };
        if reused {
            self.end(End::Closed, context);
            self.key.generation = self.key.generation.saturating_add(1);
            self.next_index = 0;
            let lane = self.lane(answering);
            lane.lose();
            lane.call = (0, 0);
        } else if matches!(lane.state, State::Skip | State::Rejoin)
            && self.pending.len() == 1
            && front.asked
            && front.broken[1]
        {
            // Nobody asks again before he has his answer, but it could not be followed.
            self.give_up(LossReason::Dropped, context);
            self.lane(answering).lose();
        }
    }

    /// The head of a request is complete.
    pub(super) fn request_head(&mut self, context: &mut Context<'_>) {
        let asking = self.asking();
        let lane = self.lane(asking);
        let Some(head) = RequestHead::parse(&lane.head) else {
            return self.lost_request(LossReason::Undecodable, 0, context);
        };
        let size = lane.head.len() as u64;
        let framing = head::request_framing(&head);
        self.open(head, size, framing, context);
        match framing {
            Framing::Length(left) if left > 0 => self.lane(asking).state = State::Length(left),
            Framing::Chunked => self.lane(asking).state = State::Chunked(Chunked::new()),
            Framing::Bad => {
                if let Some(pending) = self.pending.back_mut() {
                    pending.break_off(Part::Request, LossReason::Undecodable, 0);
                }
                self.asked(context);
                self.lane(asking).lose();
            }
            _ => self.asked(context),
        }
        self.replay(context);
    }

    /// A request whose head is not whole: what can be known of it waits for its answer.
    pub(super) fn lost_request(&mut self, reason: LossReason, bytes: u64, context: &mut Context<'_>) {
        let asking = self.asking();
        let lane = self.lane(asking);
        if lane.head.is_empty() {
            lane.started = context.time;
        }
        let head = RequestHead::parse_part(&lane.head).unwrap_or_default();
        let size = lane.head.len() as u64;
        self.open(head, size, Framing::Bad, context);
        if let Some(pending) = self.pending.back_mut() {
            pending.break_off(Part::Request, reason, bytes);
        }
        self.asked(context);
        self.lane(asking).lose();
        self.replay(context);
    }

    /// A new request.
    pub(super) fn open(&mut self, head: RequestHead, size: u64, framing: Framing, context: &mut Context<'_>) {
        if self.pending.len() >= MOST_PENDING {
            self.give_up(LossReason::Unobserved, context);
            let answering = self.answering();
            self.lane(answering).lose();
        }
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        if !head.method.is_empty() {
            context.notices.push_back(Notice::Request {
                connection: self.key,
                index,
                role: self.role.unwrap_or(Role::Client),
                time: context.time,
                method: head.method.clone(),
                target: head.target.clone(),
                host: head.host().map(str::to_owned),
            });
        }
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let body = Incoming::new(&head.headers, &head::codings(&head.headers), context.max_body_size, length);
        let asking = self.asking();
        let lane = self.lane(asking);
        lane.clear_head();
        let fields = size + fields::size(&head.headers);
        let request = Message { body, started: lane.started, ended: context.time, fields };
        *context.held += request.size();
        self.pending.push_back(Pending {
            index,
            head,
            request,
            asked: false,
            response: None,
            answered: false,
            broken: [false; 2],
            losses: Vec::new(),
            rpc: Watch::Unknown,
        });
    }

    /// The last request ended.
    pub(super) fn asked(&mut self, context: &mut Context<'_>) {
        let asking = self.asking();
        self.lane(asking).state = State::Start { in_step: true };
        let on = self.carrier();
        if let Some(pending) = self.pending.back_mut() {
            pending.asked = true;
            http::asked(pending, &on, context.notices, context.held);
        }
        self.emit(context);
    }

    /// Takes the answers that came before their requests were told of.
    pub(super) fn replay(&mut self, context: &mut Context<'_>) {
        self.early_size = 0;
        let now = context.time;
        for (border, time, bytes) in std::mem::take(&mut self.early) {
            context.time = time;
            self.answer(bytes, border, context);
        }
        context.time = now;
    }
}

//! The direction of responses.

use bytes::Bytes;
use pipeline::observation::{LossReason, Part};

use super::{Connection, Context, End, MOST_EARLY, lane::State, switched::Upgraded};
use crate::{
    event::Direction,
    streams::{
        Verdict,
        body::Incoming,
        chunked::{Chunked, Progress, begins_chunk},
        fields,
        head::{self, Begins, Framing, ResponseHead},
        jsonrpc::http,
        pending::Message,
    },
};

impl Connection {
    /// Takes a piece of responses.
    pub(super) fn answer(&mut self, piece: Bytes, mut border: bool, context: &mut Context<'_>) {
        let (answering, time, on) = (self.answering(), context.time, self.carrier());
        let mut bytes: &[u8] = &piece;
        while !bytes.is_empty() {
            if self.switched.is_some() {
                // The answer before ended HTTP/1 here.
                let rest = piece.slice_ref(bytes);
                return self.feed(answering, rest, false, context);
            }
            if self.role.is_none() || self.verdict == Verdict::NotHttp {
                // The answer before ended HTTP here.
                if self.role.is_none() {
                    let rest = piece.slice_ref(bytes);
                    self.detect(answering, rest, false, context);
                }
                return;
            }
            let several = self.pending.len() > 1;
            let Some(pending) = self.pending.front_mut().filter(|pending| !pending.answered) else {
                let rest = piece.slice_ref(bytes);
                self.early_size += rest.len();
                if self.early_size > MOST_EARLY {
                    self.early_size = 0;
                    self.early.clear();
                    self.lane(answering).lose();
                } else if !matches!(self.lane(answering).state, State::Skip) || border {
                    self.early.push((border, time, rest));
                } else {
                    self.early_size -= rest.len();
                }
                return;
            };
            let lane = match answering {
                Direction::Read => &mut self.read,
                Direction::Write => &mut self.write,
            };
            if border
                && several
                && pending.asked
                && matches!(lane.state, State::Length(_) | State::Chunked(_) | State::Close | State::Rejoin)
                && head::begins_with(bytes, head::response)
            {
                // Part of the answer was lost without a trace, and this is the next one.
                let left = lane.left();
                if !matches!(lane.state, State::Close | State::Rejoin) {
                    pending.break_off(Part::Response, LossReason::Dropped, left);
                }
                lane.lose();
                self.give_up(LossReason::Dropped, context);
                continue;
            }
            match &mut lane.state {
                State::Rejoin if border && begins_chunk(bytes) => lane.state = State::Chunked(Chunked::new()),
                State::Rejoin => return,
                State::Skip if border => lane.state = State::Start { in_step: false },
                State::Skip => return,
                State::Start { in_step } => {
                    let in_step = *in_step;
                    match lane.first_line(&mut bytes, border, time, head::response) {
                        Begins::Yes if pending.response.is_none() => lane.state = State::Head,
                        Begins::Yes if several && pending.asked => {
                            // The answer before could not be followed to its end.
                            lane.state = State::Head;
                            self.give_up(LossReason::Dropped, context);
                        }
                        Begins::Maybe => return,
                        _ => {
                            if in_step && pending.response.is_none() {
                                pending.break_off(Part::Response, LossReason::Undecodable, 0);
                            }
                            lane.lose();
                            border = false;
                        }
                    }
                }
                State::Head => match lane.rest_of_head(&mut bytes) {
                    None => return,
                    Some(true) => self.response_head(context),
                    Some(false) => {
                        pending.break_off(Part::Response, LossReason::TooLarge, 0);
                        lane.lose();
                    }
                },
                State::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    *left -= take as u64;
                    bytes = rest;
                    let done = *left == 0;
                    if let Some((_, message)) = &mut pending.response {
                        message.push(now, time, context.held);
                    }
                    http::said(pending, &on, context.notices);
                    if done {
                        self.answered(context);
                    }
                }
                State::Chunked(chunked) => {
                    let Some((_, message)) = &mut pending.response else { return lane.lose() };
                    message.ended = time;
                    let progress = chunked.feed(bytes, |data| message.push(data, time, context.held));
                    http::said(pending, &on, context.notices);
                    match progress {
                        Progress::More => return,
                        Progress::Done(taken) => {
                            bytes = bytes.get(taken..).unwrap_or_default();
                            self.answered(context);
                        }
                        Progress::Bad => {
                            if !pending.broken[1] {
                                pending.break_off(Part::Response, LossReason::Undecodable, 0);
                            }
                            lane.state = State::Rejoin;
                            return;
                        }
                    }
                }
                State::Close => {
                    if let Some((_, message)) = &mut pending.response {
                        message.push(bytes, time, context.held);
                    }
                    http::said(pending, &on, context.notices);
                    return;
                }
            }
            let lane = self.lane_ref(answering);
            border = border && matches!(lane.state, State::Start { in_step: false }) && lane.head.is_empty();
        }
    }

    /// The head of a response is complete.
    pub(super) fn response_head(&mut self, context: &mut Context<'_>) {
        let (answering, on) = (self.answering(), self.carrier());
        let lane = match answering {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        let Some(pending) = self.pending.front_mut() else { return lane.lose() };
        let Some(head) = ResponseHead::parse(&lane.head) else {
            pending.break_off(Part::Response, LossReason::Undecodable, 0);
            return lane.lose();
        };
        let size = lane.head.len() as u64 + fields::size(&head.headers);
        lane.clear_head();
        if (100..200).contains(&head.status) && head.status != 101 {
            lane.state = State::Start { in_step: true };
            return;
        }
        let mut framing = head::response_framing(&pending.head.method, &head);
        if framing == Framing::Bad {
            // RFC 9112, section 6.3: such an answer cannot be followed by another.
            pending.lose(Part::Response, LossReason::Undecodable, 0);
            framing = Framing::Close;
        }
        let status = head.status;
        let tunnel = pending.head.method == "CONNECT" && (200..300).contains(&status);
        let codings = if framing == Framing::None { Vec::new() } else { head::codings(&head.headers) };
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let body = Incoming::new(&head.headers, &codings, context.max_body_size, length);
        let message = Message { body, started: lane.started, ended: context.time, fields: size };
        *context.held += message.size();
        pending.response = Some((head, message));
        pending.broken[1] = false;
        http::answers(pending, &on, context.notices, context.held);
        match framing {
            Framing::Length(left) if left > 0 => lane.state = State::Length(left),
            Framing::Chunked => lane.state = State::Chunked(Chunked::new()),
            Framing::Close => lane.state = State::Close,
            _ => {
                if status == 101 || tunnel {
                    pending.asked = true;
                }
                let upgrade = (status == 101).then(|| Upgraded::of(pending)).flatten();
                self.answer_ended(context);
                if let Some(upgrade) = upgrade {
                    self.upgraded(upgrade, context);
                } else if status == 101 {
                    self.foreign(Verdict::NotHttp, context);
                } else if tunnel {
                    // What comes now is another conversation; if that is HTTP again, it is seen.
                    self.end(End::Closed, context);
                    self.role = None;
                    self.verdict = Verdict::Undecided;
                    self.read.lose();
                    self.write.lose();
                    self.began();
                }
                self.release(context);
            }
        }
    }

    /// The first response ended.
    pub(super) fn answered(&mut self, context: &mut Context<'_>) {
        self.answer_ended(context);
        self.release(context);
    }

    fn answer_ended(&mut self, context: &mut Context<'_>) {
        let answering = self.answering();
        self.lane(answering).state = State::Start { in_step: true };
        if let Some(pending) = self.pending.front_mut() {
            pending.answered = true;
        }
        self.emit(context);
    }
}

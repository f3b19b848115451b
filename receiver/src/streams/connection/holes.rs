//! Bytes that the kernel side dropped: within a call their number is known.

use pipeline::{
    Timestamp,
    observation::{LossReason, Part},
};

use super::{Connection, Context, lane::State};
use crate::{
    event::Direction,
    streams::{
        body::Incoming,
        fields,
        head::ResponseHead,
        pending::{Message, Pending},
    },
};

impl Connection {
    /// So many bytes of a direction are missing here, of a call that began at `since`.
    pub(super) fn hole(&mut self, direction: Direction, bytes: u64, since: Timestamp, context: &mut Context<'_>) {
        self.pass_hole(direction, bytes, since, context);
        // Who asked again after that call had his answer: it is in the hole.
        if self.role.is_some()
            && direction == self.answering()
            && matches!(self.lane_ref(direction).state, State::Skip | State::Rejoin)
            && self.pending.front().is_some_and(|pending| pending.asked && pending.broken[1])
            && self.pending.get(1).is_some_and(|pending| pending.request.started > since)
        {
            self.give_up(LossReason::Dropped, context);
            self.lane(direction).lose();
        }
    }

    fn pass_hole(&mut self, direction: Direction, bytes: u64, since: Timestamp, context: &mut Context<'_>) {
        if self.role.is_none() {
            return self.lane(direction).lose();
        }
        let asking = direction == self.asking();
        let part = if asking { Part::Request } else { Part::Response };
        let lane = match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        if !asking && self.pending.front().is_none_or(|pending| pending.answered) {
            self.early.clear();
            self.early_size = 0;
            return lane.lose();
        }
        // Bytes that were read before a request was written are no answer to it.
        let answers = |pending: &Pending| asking || pending.request.started <= since;
        let more = asking || self.pending.get(1).is_some_and(answers);
        let pending = if asking { self.pending.back_mut() } else { self.pending.front_mut() };
        if !matches!(lane.state, State::Length(_) | State::Chunked(_) | State::Close | State::Rejoin)
            && !pending.as_deref().is_none_or(answers)
        {
            return lane.lose();
        }
        match &mut lane.state {
            State::Rejoin => {
                if let Some(pending) = pending {
                    pending.lose(part, LossReason::Dropped, bytes);
                }
            }
            State::Skip | State::Start { in_step: false } => {
                lane.lose();
                if let (false, Some(pending)) = (asking, pending) {
                    pending.break_off(part, LossReason::Dropped, bytes);
                }
            }
            State::Start { in_step: true } | State::Head if asking => {
                self.lost_request(LossReason::Dropped, bytes, context);
            }
            State::Start { in_step: true } | State::Head => {
                let Some(pending) = pending else { return };
                if let Some(head) = ResponseHead::parse_part(&lane.head).filter(|head| head.status >= 200) {
                    let body = Incoming::new(&head.headers, &[], context.max_body_size, None);
                    let fields = lane.head.len() as u64 + fields::size(&head.headers);
                    let message = Message { body, started: lane.started, ended: context.time, fields };
                    *context.held += message.size();
                    pending.response = Some((head, message));
                }
                pending.break_off(part, LossReason::Dropped, bytes);
                lane.lose();
            }
            state @ (State::Length(_) | State::Chunked(_) | State::Close) => {
                let Some(pending) = pending else { return };
                let (within, framed, done) = match state {
                    State::Length(left) => {
                        let within = bytes.min(*left);
                        *left -= within;
                        (within, true, *left == 0)
                    }
                    State::Chunked(chunked) => (bytes, chunked.hole(bytes), false),
                    _ => (bytes, true, false),
                };
                pending.lose(part, LossReason::Dropped, if more { within } else { bytes });
                let message = match &mut pending.response {
                    Some((_, message)) if !asking => &mut message.body,
                    _ => &mut pending.request.body,
                };
                message.hole(within);
                if !framed {
                    pending.broken[usize::from(!asking)] = true;
                    if asking {
                        self.asked(context);
                        self.lane(direction).lose();
                    } else {
                        lane.state = State::Rejoin;
                    }
                } else if done {
                    if asking {
                        self.asked(context);
                    } else {
                        self.answered(context);
                    }
                    if bytes > within {
                        if more {
                            self.hole(direction, bytes - within, since, context);
                        } else {
                            self.lane(direction).lose();
                        }
                    }
                }
            }
        }
    }
}

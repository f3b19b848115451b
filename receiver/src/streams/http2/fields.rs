//! A header block's fields: pseudo-headers apart, credentials taken out.

use pipeline::observation::Headers;

use super::{hpack::Field, lane::Block};
use crate::streams::{fields, head::LONGEST};

/// What a block says. What is absent was not in it, or is not known.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) method: Option<String>,
    /// `:path`, secrets masked.
    pub(super) path: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) scheme: bool,
    pub(super) status: Option<u16>,
    pub(super) headers: Headers,
    /// Fields that are not known, because they refer to what was not seen.
    pub(super) unknown: bool,
    /// The first of them is not known: a response's status.
    pub(super) unknown_first: bool,
    /// The block is not what it should be.
    pub(super) bad: bool,
    /// There was more than is kept.
    pub(super) too_long: bool,
}

impl Fields {
    pub(super) fn of(block: &mut Block<'_>) -> Self {
        let mut found = Self { too_long: block.too_long, ..Self::default() };
        let (mut size, mut first) = (0, true);
        let whole = block.fields(|field| {
            let is_first = std::mem::take(&mut first);
            let Field::Known(name, value) = field else {
                found.unknown = true;
                found.unknown_first |= is_first;
                return;
            };
            size += name.len() + value.len() + size_of::<(String, String)>();
            if size > LONGEST {
                found.too_long = true;
            } else {
                found.field(name, value);
            }
        });
        found.bad = !whole && !found.too_long;
        found
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b":method" => self.method = Some(text()),
            b":path" => self.path = Some(pipeline::mask::target(&String::from_utf8_lossy(value)).into_owned()),
            b":authority" => self.authority = Some(text()),
            b":scheme" => self.scheme = true,
            b":status" => {
                self.status = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.bad |= self.status.is_none();
            }
            [b':', ..] | [] => {}
            _ => self.headers.0.push(fields::field(&String::from_utf8_lossy(name), value)),
        }
    }

    /// True if only a request has such fields.
    pub(super) fn asks(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.authority.is_some() || self.scheme
    }
}

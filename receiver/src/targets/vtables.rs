//! Vtables of Rust's trait objects: drop function or null, size, alignment, then the methods in the order of the trait
//! (rustc, `compiler/rustc_middle/src/ty/vtable.rs`).

use super::{image::Image, relocations::Pointers};

/// Sizes beyond this are no sizes of the objects that are looked for.
const MOST: u64 = 1 << 16;

/// A vtable, or what looks like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtable {
    /// Where it is.
    pub address: u64,
    /// Bytes of the object.
    pub size: u64,
    /// Alignment of the object.
    pub align: u64,
    /// Pointers to code from the first method on; of more than were asked for, one more.
    code: Vec<u64>,
    /// For each, whether the next vtable may begin with it: with its drop function.
    ends: Vec<bool>,
}

impl Vtable {
    /// The methods, if there may be just so many. Where one vtable follows another, more than one number may do.
    pub fn methods<const N: usize>(&self) -> Option<[u64; N]> {
        let ends = self.code.len() == N || self.ends.get(N).copied().unwrap_or(false);
        self.code.get(..N).filter(|_| ends)?.try_into().ok()
    }
}

/// Everything that looks like a vtable with one method to `most`.
pub fn all(image: &Image, pointers: &Pointers, most: usize) -> Vec<Vtable> {
    let mut found = Vec::new();
    for (place, _) in pointers.to_code().iter().copied() {
        let Some(address) = place.checked_sub(24) else { continue };
        let Some((size, align)) = shape(image, pointers, address) else { continue };
        let (mut code, mut ends) = (Vec::new(), Vec::new());
        let mut next = place;
        while let Some(function) = pointers.code_at(next).filter(|_| code.len() <= most) {
            code.push(function);
            ends.push(shape(image, pointers, next).is_some());
            next = next.wrapping_add(8);
        }
        let table = Vtable { address, size, align, code, ends };
        if table.code.len() <= most || table.ends.iter().skip(1).any(|end| *end) {
            found.push(table);
        }
    }
    found
}

/// Size and alignment, if a vtable can begin here.
fn shape(image: &Image, pointers: &Pointers, address: u64) -> Option<(u64, u64)> {
    let number = |offset: u64| {
        let place = address.checked_add(offset)?;
        let bytes = image.bytes(place, 8)?.try_into().ok()?;
        pointers.at(place).is_none().then(|| u64::from_le_bytes(bytes))
    };
    let (size, align) = (number(8)?, number(16)?);
    if !align.is_power_of_two() || align > 64 || size > MOST || size % align != 0 {
        return None;
    }
    // A pointer to code, or null where there is nothing to drop.
    (pointers.code_at(address).is_some() || number(0)? == 0).then_some((size, align))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::image::Segment;

    #[test]
    fn vtables_are_told_from_what_follows_them() {
        let code = |at: u64| 0x1000 + at;
        // Two methods and, by chance, numbers behind them; then one method and a vtable without any.
        let words = [code(1), 24, 8, code(2), code(3), 16, 8, 5, 0, 32, 16, code(4), code(5), 8, 8, 9, 9];
        let segment = |address, executable, bytes| Segment { address, offset: address, executable, bytes };
        let image = Image {
            segments: vec![
                segment(0x1000, true, vec![0xc3; 0x100]),
                segment(0x2000, false, words.iter().flat_map(|word| word.to_le_bytes()).collect()),
            ],
            sections: Vec::new(),
            build_id: None,
            eh_frame_header: None,
            dynamic: None,
        };
        let found = all(&image, &Pointers::of(&image), 2);
        assert_eq!(found.iter().map(|table| table.address).collect::<Vec<_>>(), [0x2000, 0x2040]);
        assert_eq!((found[0].size, found[0].align), (24, 8));
        assert_eq!(found[0].methods(), Some([code(2), code(3)]));
        assert_eq!(found[0].methods(), Some([code(2)]));
        assert_eq!(found[1].methods(), Some([code(4)]));
        assert_eq!(found[1].methods(), Some([code(4), code(5)]));
        assert_eq!(found[1].methods::<3>(), None);
    }
}

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
    /// The first methods, at least one.
    pub methods: Vec<u64>,
}

/// Everything that looks like a vtable with one method to `most`.
pub fn all(image: &Image, pointers: &Pointers, most: usize) -> Vec<Vtable> {
    let shape = |address: u64| shape(image, pointers, address);
    let mut found = Vec::new();
    for (place, first) in pointers.to_code().iter().copied() {
        let Some(address) = place.checked_sub(24) else { continue };
        let Some((size, align)) = shape(address) else { continue };
        let mut methods = vec![first];
        let mut next = place.wrapping_add(8);
        while methods.len() <= most {
            // The next vtable begins with the address of a drop function, too.
            let Some(method) = pointers.code_at(next).filter(|_| shape(next).is_none()) else { break };
            methods.push(method);
            next = next.wrapping_add(8);
        }
        if methods.len() <= most {
            found.push(Vtable { address, size, align, methods });
        }
    }
    found
}

/// Size and alignment, if a vtable can begin here.
fn shape(image: &Image, pointers: &Pointers, address: u64) -> Option<(u64, u64)> {
    let at = |offset: u64| address.checked_add(offset);
    let number = |offset: u64| {
        let place = at(offset)?;
        let bytes = image.bytes(place, 8)?.try_into().ok()?;
        pointers.at(place).is_none().then(|| u64::from_le_bytes(bytes))
    };
    // A pointer to code, or null where there is nothing to drop.
    if pointers.code_at(address).is_none() && number(0)? != 0 {
        return None;
    }
    pointers.code_at(at(24)?)?;
    let (size, align) = (number(8)?, number(16)?);
    (align.is_power_of_two() && align <= 64 && size <= MOST && size % align == 0).then_some((size, align))
}

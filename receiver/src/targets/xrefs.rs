//! Code that refers to something: where it is, and the function around it with the numbers that it hands to others.
//!
//! A scan of the bytes for the few instructions that can hold an address finds candidates in no time; decoding the
//! function around a candidate, along its jumps, then shows which of them are instructions.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register,
};

use super::{
    functions::Functions,
    image::{Image, Segment},
};

/// Instructions of a function that are decoded at most.
const MOST: usize = 20_000;

/// Instructions that are looked at for the values of one function's registers, all together: a file may be made to take
/// for ever.
const STEPS: usize = 200_000;

/// An instruction that mentions an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Address of the instruction.
    pub at: u64,
    /// The address that it mentions.
    pub to: u64,
}

/// Bytes that look like instructions that load an address in one of these ranges: `lea r64, [rip+d]`, and where the
/// address fits `mov r32, imm32` and `push imm32`. In order. They may be parts of other instructions: see
/// [`Body::instruction`].
pub fn references(image: &Image, targets: &[Range<u64>]) -> Vec<Reference> {
    let mut found: Vec<Reference> = image.code().flat_map(|segment| in_segment(segment, targets)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn in_segment(segment: &Segment, targets: &[Range<u64>]) -> Vec<Reference> {
    let code = segment.bytes.as_slice();
    let mut found = Vec::new();
    let lowest = targets.iter().map(|range| range.start).min().unwrap_or(0);
    let highest = targets.iter().map(|range| range.end).max().unwrap_or(0);
    let wanted =
        |address: u64| (lowest..highest).contains(&address) && targets.iter().any(|range| range.contains(&address));
    // lea: REX.W 8d /r with mod 0 and rm 5, which means relative to the next instruction.
    for at in memchr::memchr_iter(0x8d, code) {
        let Some([form, displacement @ ..]) = code.get(at + 1..).and_then(|rest| rest.first_chunk::<5>()) else {
            break;
        };
        let prefix = at.checked_sub(1).and_then(|before| code.get(before)).copied().unwrap_or(0);
        if form & 0xc7 != 5 || !matches!(prefix, 0x48..=0x4f) {
            continue;
        }
        let next = segment.address.wrapping_add(at as u64 + 6);
        let to = next.wrapping_add_signed(i64::from(i32::from_le_bytes(*displacement)));
        if wanted(to) {
            found.push(Reference { at: segment.address.wrapping_add(at as u64 - 1), to });
        }
    }
    // Numbers: the upper three bytes are looked for, the lowest one varies within a range.
    let mut upper: Vec<u32> = Vec::new();
    for range in targets {
        let Some(last) = range.end.checked_sub(1).and_then(|last| u32::try_from(last).ok()) else { continue };
        let first = u32::try_from(range.start).unwrap_or(last);
        // An address range of a file name is short; long ones are not for this.
        upper.extend((first >> 8..=last >> 8).take(256));
    }
    upper.sort_unstable();
    upper.dedup();
    for upper in upper.into_iter().filter(|upper| *upper != 0) {
        let [low, middle, high, _] = upper.to_le_bytes();
        for at in memchr::memmem::find_iter(code, &[low, middle, high]) {
            let Some(at) = at.checked_sub(2) else { continue };
            let Some([opcode, lowest]) = code.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { continue };
            let to = u64::from(upper << 8 | u32::from(*lowest));
            if !matches!(opcode, 0xb8..=0xbf | 0x68) || !wanted(to) {
                continue;
            }
            let long = matches!(at.checked_sub(1).and_then(|before| code.get(before)), Some(0x41));
            let long = long && *opcode != 0x68;
            found.push(Reference { at: segment.address.wrapping_add(at as u64 - u64::from(long)), to });
        }
    }
    found
}

/// Addresses of `call rel32` to this address, in order; they too may be parts of other instructions.
pub fn callers(image: &Image, target: u64) -> Vec<u64> {
    let within = |segment: &Segment| {
        let code = segment.bytes.as_slice();
        let mut found = Vec::new();
        for at in memchr::memchr_iter(0xe8, code) {
            let Some(distance) = code.get(at + 1..).and_then(|rest| rest.first_chunk::<4>()) else { break };
            let here = segment.address.wrapping_add(at as u64);
            let next = here.wrapping_add(5);
            if next.wrapping_add_signed(i64::from(i32::from_le_bytes(*distance))) == target {
                found.push(here);
            }
        }
        found
    };
    image.code().flat_map(within).collect()
}

/// A function's instructions: all that can be reached from its first one by jumps within it. Jumps through tables are
/// not followed.
pub struct Body {
    /// Address of its first instruction.
    pub start: u64,
    /// By address.
    instructions: Vec<Instruction>,
    /// Instructions that come before one: by its address, indices.
    before: HashMap<u64, Vec<usize>>,
    /// True if it was too long to be decoded whole.
    pub cut: bool,
    /// Of [`STEPS`].
    left: Cell<usize>,
}

/// What a register can hold at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Numbers that are put there.
    pub known: BTreeSet<i64>,
    /// True if something else may be there as well.
    pub open: bool,
}

impl Values {
    /// The number, if it is always the same.
    pub fn only(&self) -> Option<i64> {
        self.known.first().copied().filter(|_| self.known.len() == 1 && !self.open)
    }
}

impl Body {
    /// Decodes the function that begins here.
    pub fn of(image: &Image, functions: &Functions, start: u64) -> Self {
        let mut seen: HashMap<u64, Instruction> = HashMap::new();
        let mut open = vec![start];
        let mut cut = false;
        'blocks: while let Some(address) = open.pop() {
            if seen.contains_key(&address) || !image.segment(address).is_some_and(|segment| segment.executable) {
                continue;
            }
            let Some(bytes) = image.bytes(address, MOST * 15) else { continue };
            for instruction in &mut Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
                // What stands before another function does not run into it: it called something that never returns.
                let next = instruction.ip() != address && functions.is_start(instruction.ip());
                if next || seen.contains_key(&instruction.ip()) || instruction.is_invalid() {
                    break;
                }
                if seen.len() >= MOST {
                    cut = true;
                    break 'blocks;
                }
                seen.insert(instruction.ip(), instruction);
                match instruction.flow_control() {
                    FlowControl::ConditionalBranch => open.push(instruction.near_branch_target()),
                    FlowControl::UnconditionalBranch => {
                        let target = instruction.near_branch_target();
                        // A jump to another function's beginning is a call whose return is this one's.
                        if target == start || !functions.is_start(target) {
                            open.push(target);
                        }
                        break;
                    }
                    FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {}
                    _ => break,
                }
            }
        }
        let mut instructions: Vec<Instruction> = seen.into_values().collect();
        instructions.sort_unstable_by_key(Instruction::ip);
        let mut before: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, instruction) in instructions.iter().enumerate() {
            let flow = instruction.flow_control();
            if matches!(
                flow,
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall | FlowControl::ConditionalBranch
            ) {
                before.entry(instruction.next_ip()).or_default().push(index);
            }
            if matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch) {
                before.entry(instruction.near_branch_target()).or_default().push(index);
            }
        }
        Self { start, instructions, before, cut, left: Cell::new(STEPS) }
    }

    /// Its instructions by address.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The instruction that begins at an address.
    pub fn instruction(&self, address: u64) -> Option<&Instruction> {
        self.index(address).and_then(|index| self.instructions.get(index))
    }

    fn index(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, Instruction::ip).ok()
    }

    /// True if it calls, or ends in, the function at this address.
    pub fn calls(&self, target: u64) -> bool {
        self.calls_to(target).next().is_some()
    }

    /// Its calls of the function at this address, a last jump there included.
    pub fn calls_to(&self, target: u64) -> impl Iterator<Item = &Instruction> {
        self.instructions.iter().filter(move |instruction| called(instruction) == Some(target))
    }

    /// True if it calls a function whose address it reads from memory.
    pub fn calls_by_table(&self) -> bool {
        self.instructions.iter().any(|instruction| {
            instruction.flow_control() == FlowControl::IndirectCall && !instruction.is_ip_rel_memory_operand()
        })
    }

    /// What a register can hold just before the instruction at an address, as far as numbers are put there.
    pub fn values(&self, address: u64, register: Register) -> Values {
        let mut values = Values::default();
        let mut factory = InstructionInfoFactory::new();
        let mut open = vec![(address, register.full_register())];
        let mut seen = BTreeSet::new();
        while let Some((address, register)) = open.pop() {
            if !seen.insert((address, register as u32)) {
                continue;
            }
            let before = self.before.get(&address).map(Vec::as_slice).unwrap_or_default();
            let left = self.left.get();
            self.left.set(left.saturating_sub(1));
            if before.is_empty() || left == 0 || address == self.start {
                values.open = true;
                continue;
            }
            for index in before {
                let Some(instruction) = self.instructions.get(*index) else { continue };
                match self.effect(instruction, register, &mut factory) {
                    Effect::None => open.push((instruction.ip(), register)),
                    Effect::Number(number) => {
                        values.known.insert(number);
                    }
                    Effect::Copy(from) => open.push((instruction.ip(), from)),
                    Effect::Other => values.open = true,
                }
            }
        }
        values
    }

    /// What an instruction does to a register.
    fn effect(&self, instruction: &Instruction, register: Register, factory: &mut InstructionInfoFactory) -> Effect {
        if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            // System V ABI, "Register Usage".
            let kept = [Register::RBX, Register::RBP, Register::RSP, Register::R12, Register::R13, Register::R14]
                .contains(&register)
                || register == Register::R15;
            return if kept { Effect::None } else { Effect::Other };
        }
        let info = factory.info(instruction);
        let written = info.used_registers().iter().any(|used| {
            used.register().full_register() == register && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
        });
        if !written {
            return Effect::None;
        }
        let whole = instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().full_register() == register
            && instruction.op0_register().size() >= 4;
        if !whole {
            return Effect::Other;
        }
        match instruction.code() {
            Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 => Effect::Number(i64::from(instruction.immediate32())),
            Code::Mov_r64_imm64 => Effect::Number(instruction.immediate64().cast_signed()),
            Code::Mov_rm64_imm32 => Effect::Number(instruction.immediate32to64()),
            Code::Xor_r32_rm32 | Code::Xor_rm32_r32 | Code::Xor_r64_rm64 | Code::Xor_rm64_r64
                if instruction.op0_register() == instruction.op1_register() =>
            {
                Effect::Number(0)
            }
            Code::Mov_r32_rm32 | Code::Mov_rm32_r32 | Code::Mov_r64_rm64 | Code::Mov_rm64_r64
                if instruction.op1_kind() == OpKind::Register =>
            {
                Effect::Copy(instruction.op1_register().full_register())
            }
            Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
                Effect::Number(instruction.ip_rel_memory_address().cast_signed())
            }
            // What optimisation for size makes of `mov`.
            Code::Pop_r64 => match self.pushed(instruction.ip()) {
                Some(number) => Effect::Number(number),
                None => Effect::Other,
            },
            _ => Effect::Other,
        }
    }

    /// The number that the instruction right before this address pushes.
    fn pushed(&self, address: u64) -> Option<i64> {
        let before = self.before.get(&address)?;
        let [index] = before.as_slice() else { return None };
        let instruction = self.instructions.get(*index)?;
        match instruction.code() {
            Code::Pushq_imm8 => Some(instruction.immediate8to64()),
            Code::Pushq_imm32 => Some(instruction.immediate32to64()),
            _ => None,
        }
    }
}

enum Effect {
    None,
    Number(i64),
    Copy(Register),
    Other,
}

/// The function that an instruction calls or jumps to.
pub fn called(instruction: &Instruction) -> Option<u64> {
    matches!(instruction.flow_control(), FlowControl::Call | FlowControl::UnconditionalBranch)
        .then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::targets::errors::assembly::{CODE, Program, STRINGS, Style};

    fn body(image: &Image, start: u64) -> Body {
        Body::of(image, &Functions::of(image), start)
    }

    #[test]
    fn an_address_is_found_however_it_is_loaded() {
        let mut program = Program::new(b"name\0");
        program.function("f");
        for style in [Style::Relative, Style::Absolute, Style::Small] {
            program.error(style, 16, 66);
        }
        // push imm32; mov r9d, imm32
        program.bytes(&[0x68, 0, 0, 0x60, 0]).bytes(&[0x41, 0xb9, 0, 0, 0x60, 0]);
        program.function("ERR_put_error").bytes(&[0xc3]);
        let image = program.image();
        let (there, elsewhere) = (STRINGS.0..STRINGS.0 + 1, STRINGS.0 + 1..STRINGS.0 + 5);
        let found = references(&image, std::slice::from_ref(&there));
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|reference| reference.to == STRINGS.0));
        assert_eq!(found[0].at, program.address("f"));
        assert_eq!(references(&image, &[elsewhere, there.end..there.end]), []);
        assert_eq!(callers(&image, program.address("ERR_put_error")).len(), 3);
    }

    #[test]
    fn a_register_holds_what_every_way_to_a_place_puts_there() {
        let mut program = Program::new(b"");
        // mov edx, 1; test edi, edi; je other; mov edx, 2
        program.function("f").bytes(&[0xba, 1, 0, 0, 0, 0x85, 0xff]).if_equal("other").bytes(&[0xba, 2, 0, 0, 0]);
        program.label("other").bytes(&[0x89, 0xd1]).label("call").call("g").label("after").bytes(&[0xc3]);
        program.function("g").bytes(&[0xc3]);
        let image = program.image();
        let body = body(&image, CODE.0);
        let at = |register| body.values(program.address("call"), register);
        assert_eq!(at(Register::EDX), Values { known: BTreeSet::from([1, 2]), open: false });
        // By way of a copy, and from outside.
        assert_eq!(at(Register::RCX), at(Register::RDX));
        assert_eq!(at(Register::RDI), Values { known: BTreeSet::new(), open: true });
        // A call leaves nothing in it.
        assert_eq!(body.values(program.address("after"), Register::RDX).known, BTreeSet::new());
        assert!(body.calls(program.address("g")));
    }

    #[test]
    fn a_function_ends_where_the_next_begins_though_a_call_stands_before_it() {
        let mut program = Program::new(b"");
        program.function("f").call("abort").bytes(&[0x90]);
        program.bytes(&[0x90; 10]).label("g").bytes(&[0xb8, 1, 0, 0, 0, 0xc3]);
        program.function("abort").bytes(&[0xf4]);
        program.function("main").call("f").call("g").bytes(&[0xc3]);
        let image = program.image();
        let last = body(&image, program.address("f")).instructions().last().map(Instruction::next_ip);
        assert_eq!(last, Some(program.address("g")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_through(
            code in proptest::collection::vec(any::<u8>(), 1..400),
            start in 0u64..400,
            at in 0u64..400,
        ) {
            let mut program = Program::new(b"name");
            program.bytes(&code);
            let image = program.image();
            references(&image, &[STRINGS.0..STRINGS.0 + 4, 0..u64::MAX, 5..5]);
            let body = body(&image, CODE.0 + start);
            body.values(CODE.0 + at, Register::RDX);
            for instruction in body.instructions() {
                body.values(instruction.ip(), Register::RCX);
            }
        }
    }
}

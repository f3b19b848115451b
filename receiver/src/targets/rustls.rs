//! rustls, whatever its cryptography: the functions that protect and open records.
//!
//! rustls reaches them through vtables of two traits (`src/crypto/cipher.rs` of rustls 0.22 and 0.23):
//! `MessageEncrypter {encrypt, encrypted_payload_len}` and `MessageDecrypter {decrypt}`. A stripped file still has the
//! vtables. An encrypter is known by its second method, which gives its argument plus a constant that TLS prescribes;
//! a decrypter by how it treats the lengths that TLS prescribes. Each is believed only together with the other: an object
//! of the same kind and size. (rustls 0.21 has `encrypt` alone; there the encrypter is the decrypter's neighbour.)

use std::collections::{BTreeSet, HashMap};

use iced_x86::{Code, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::{
    image::{Image, Source},
    plan::{Found, Plan, Probe, Site, Stack},
    relocations::Pointers,
    symbols,
    vtables::{self, Vtable},
};

/// What rustls says of a record that cannot be opened (`src/error.rs`, 0.20 to 0.23): in every file with rustls.
pub const TELLING: &[u8] = b"cannot decrypt peer's message";

/// Bytes of plaintext in a record at most (RFC 8446 5.1, RFC 5246 6.2.1).
const FRAGMENT: u64 = 1 << 14;

/// Bytes of a function that are looked at.
const BODY: usize = 6144;

/// How far a decrypter's vtable and that of the same module's encrypter are apart at most, in rustls 0.21.
const NEAR: u64 = 1024;

/// What protects a record, by what it adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// TLS 1.3: the content type and a tag (RFC 8446 5.2).
    Tls13,
    /// TLS 1.2 with AES-GCM: an explicit nonce and a tag (RFC 5288).
    Gcm12,
    /// TLS 1.2 with ChaCha20-Poly1305: a tag (RFC 7905).
    ChaCha12,
}

impl Kind {
    fn of(overhead: u64) -> Option<Self> {
        match overhead {
            17 => Some(Self::Tls13),
            24 => Some(Self::Gcm12),
            16 => Some(Self::ChaCha12),
            _ => None,
        }
    }

    /// Bytes that protection adds.
    fn overhead(self) -> u64 {
        match self {
            Self::Tls13 => 17,
            Self::Gcm12 => 24,
            Self::ChaCha12 => 16,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tls13 => "TLS 1.3",
            Self::Gcm12 => "TLS 1.2 AES-GCM",
            Self::ChaCha12 => "TLS 1.2 ChaCha20-Poly1305",
        }
    }
}

/// An object with one of the two traits.
struct Cipher {
    kind: Kind,
    vtable: Vtable,
    function: u64,
}

/// True if rustls is in the file.
pub fn is_in(image: &Image) -> bool {
    let finder = memchr::memmem::Finder::new(TELLING);
    image.segments.iter().any(|segment| finder.find(&segment.bytes).is_some())
}

/// Finds rustls's record protection by names where there are any, else by structure.
pub fn find(image: &Image, file: &impl Source) -> Found {
    if !is_in(image) {
        return Found::default();
    }
    if let Some(plan) = by_names(image, file) {
        return Found { plans: vec![plan], doubts: Vec::new() };
    }
    by_structure(image)
}

/// By the names of unstripped files, as either mangling of rustc writes them.
fn by_names(image: &Image, file: &impl Source) -> Option<Plan> {
    let mut sites: Vec<Site> = Vec::new();
    symbols::each(image, file, &mut |name, address| {
        let Some((probe, label)) = role(name) else { return };
        if let Some(entry) = image.code_offset(address)
            && !sites.iter().any(|site| site.entry == entry)
        {
            sites.push(Site::new(probe, label, entry));
        }
    });
    let has = |probe| sites.iter().any(|site: &Site| site.probe == probe);
    (has(Probe::RustlsEncrypt) && has(Probe::RustlsDecrypt)).then_some(())?;
    sites.sort_by_key(|site| (site.probe != Probe::RustlsEncrypt, site.entry));
    Some(Plan { stack: Stack::Rustls, method: "names of functions".into(), sites })
}

/// What a function is, by its mangled name: `_ZN…MessageEncrypter$GT$7encrypt17h…E` or
/// `_RNv…16MessageEncrypter7encrypt`.
fn role(name: &[u8]) -> Option<(Probe, &'static str)> {
    let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
    // Those that refuse to work, before there are keys.
    if !has(b"rustls") || has(b"Invalid") {
        return None;
    }
    if has(b"MessageEncrypter$GT$7encrypt17h") || has(b"16MessageEncrypter7encrypt") {
        return Some((Probe::RustlsEncrypt, "MessageEncrypter::encrypt"));
    }
    if has(b"MessageDecrypter$GT$7decrypt17h") || has(b"16MessageDecrypter7decrypt") {
        return Some((Probe::RustlsDecrypt, "MessageDecrypter::decrypt"));
    }
    None
}

/// By vtables.
fn by_structure(image: &Image) -> Found {
    let pointers = Pointers::of(image);
    let code = Functions::new(image, &pointers);
    let tables = vtables::all(image, &pointers, 2);
    let mut encrypters = encrypters(&code, &tables);
    let decrypters = decrypters(&code, &tables);
    if encrypters.is_empty() {
        encrypters = old_encrypters(&code, &tables, &decrypters);
    }
    let fits = |encrypter: &Cipher, decrypter: &Cipher| {
        // A decrypter's nonce may be shorter by eight bytes.
        let spare = encrypter.vtable.size.checked_sub(decrypter.vtable.size);
        encrypter.kind == decrypter.kind
            && encrypter.vtable.align == decrypter.vtable.align
            && spare.is_some_and(|spare| spare <= 8)
    };
    let mut found = Found::default();
    let mut sites = Vec::new();
    let mut doubt = |cipher: &Cipher, has: &str, lacks: &str| {
        found.doubts.push(format!(
            "rustls {has} {} at {:#x}, but what {lacks} it is not known",
            cipher.kind.name(),
            cipher.function
        ));
    };
    let mut site = |cipher: &Cipher, probe: Probe, name: &str| {
        let Some(entry) = image.code_offset(cipher.function) else { return };
        if !sites.iter().any(|site: &Site| site.entry == entry) {
            sites.push(Site::new(probe, &format!("{name} ({})", cipher.kind.name()), entry));
        }
    };
    for encrypter in &encrypters {
        if decrypters.iter().any(|decrypter| fits(encrypter, decrypter)) {
            site(encrypter, Probe::RustlsEncrypt, "MessageEncrypter::encrypt");
        } else {
            doubt(encrypter, "protects", "opens");
        }
    }
    for decrypter in &decrypters {
        if encrypters.iter().any(|encrypter| fits(encrypter, decrypter)) {
            site(decrypter, Probe::RustlsDecrypt, "MessageDecrypter::decrypt");
        } else {
            doubt(decrypter, "opens", "protects");
        }
    }
    if !sites.is_empty() {
        found.plans.push(Plan { stack: Stack::Rustls, method: "vtables of rustls's traits".into(), sites });
    } else if found.doubts.is_empty() {
        found.doubts.push("rustls is in it, but the functions that protect its records were not recognised".into());
    }
    found
}

/// Vtables of `MessageEncrypter` from rustls 0.22 on.
fn encrypters(code: &Functions<'_>, tables: &[Vtable]) -> Vec<Cipher> {
    let cipher = |table: &Vtable| {
        let [encrypt, length] = table.methods()?;
        let kind = Kind::of(code.added(length)?)?;
        code.reads_message(encrypt).then(|| Cipher { kind, vtable: table.clone(), function: encrypt })
    };
    tables.iter().filter_map(cipher).collect()
}

/// Vtables of `MessageDecrypter`.
fn decrypters(code: &Functions<'_>, tables: &[Vtable]) -> Vec<Cipher> {
    let cipher = |table: &Vtable| {
        let [decrypt] = table.methods()?;
        let shortest = code.shortest(decrypt)?;
        // What is left is compared with what TLS allows: 2^14 bytes, and in TLS 1.3 the content type (there it may be a
        // function of its own, `into_tls13_unpadded_message`). The compiler may compare what there was before, which
        // has the tag and the nonce too.
        let has = |deep, limits: &[u64]| {
            let found = code.limits(decrypt, deep);
            limits.iter().any(|limit| found.contains(&(FRAGMENT + limit)))
        };
        let kind = match shortest {
            16 if has(true, &[1, 17]) => Kind::Tls13,
            16 if has(false, &[0, 16]) => Kind::ChaCha12,
            24 if has(false, &[0, 8, 16, 24]) => Kind::Gcm12,
            _ => return None,
        };
        Some(Cipher { kind, vtable: table.clone(), function: decrypt })
    };
    tables.iter().filter_map(cipher).collect()
}

/// Vtables of `MessageEncrypter` in rustls 0.21: one method, the nearest neighbour of the same kind's decrypter that
/// makes room for what its kind adds.
fn old_encrypters(code: &Functions<'_>, tables: &[Vtable], decrypters: &[Cipher]) -> Vec<Cipher> {
    let mut found = Vec::new();
    for decrypter in decrypters {
        let apart = |table: &Vtable| table.address.abs_diff(decrypter.vtable.address);
        let fits = |table: &&Vtable| {
            let Some([encrypt]) = table.methods() else { return false };
            apart(table) <= NEAR
                && table.align == decrypter.vtable.align
                && table.size.checked_sub(decrypter.vtable.size).is_some_and(|spare| spare <= 8)
                && !decrypters.iter().any(|other| other.function == encrypt)
                && code.reads_message(encrypt)
                && code.adds_to_length(encrypt, decrypter.kind.overhead())
        };
        let mut near: Vec<_> = tables.iter().filter(fits).collect();
        near.sort_by_key(|table| apart(table));
        near.dedup_by_key(|table| table.methods::<1>());
        // More than one: not told apart.
        if let [table] = near[..]
            && let Some([function]) = table.methods()
        {
            found.push(Cipher { kind: decrypter.kind, vtable: table.clone(), function });
        }
    }
    found
}

/// The code, function by function.
struct Functions<'a> {
    image: &'a Image,
    /// Addresses that data points to, in order: functions begin there.
    starts: Vec<u64>,
    /// So may cases of jump tables.
    absolute: bool,
}

impl<'a> Functions<'a> {
    fn new(image: &'a Image, pointers: &Pointers) -> Self {
        let mut starts: Vec<u64> = pointers.to_code().iter().map(|pointer| pointer.1).collect();
        starts.sort_unstable();
        starts.dedup();
        Self { image, starts, absolute: pointers.are_absolute() }
    }

    fn decode(&self, address: u64, bytes: usize) -> Vec<u8> {
        self.image.code_offset(address).and_then(|_| self.image.bytes(address, bytes)).unwrap_or_default().to_vec()
    }

    /// Up to `most` instructions of the function at this address, in the order of their addresses.
    fn body(&self, start: u64, most: usize) -> Vec<Instruction> {
        let bytes = self.decode(start, BODY.min(most.saturating_mul(15)));
        let decoder = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE);
        let mut furthest = start;
        let mut table = false;
        let mut body = Vec::new();
        for instruction in decoder {
            let at = instruction.ip();
            let case = table && self.absolute;
            let next_function = at != start && !case && self.starts.binary_search(&at).is_ok();
            if instruction.is_invalid() || next_function || body.len() >= most {
                break;
            }
            body.push(instruction);
            if instruction.mnemonic() == Mnemonic::Int3 && at >= furthest {
                break;
            }
            match instruction.flow_control() {
                FlowControl::ConditionalBranch => furthest = furthest.max(near(&instruction, start)),
                FlowControl::UnconditionalBranch | FlowControl::Return | FlowControl::Exception => {
                    if instruction.flow_control() == FlowControl::UnconditionalBranch {
                        furthest = furthest.max(near(&instruction, start));
                    }
                    // Behind a jump table its cases follow, and nothing here tells where they end.
                    if instruction.next_ip() > furthest && !table {
                        break;
                    }
                }
                FlowControl::IndirectBranch => table = true,
                _ => {}
            }
        }
        body
    }

    /// The constant that a function `fn(&self, n: usize) -> usize` adds to `n`, if it does just that.
    fn added(&self, address: u64) -> Option<u64> {
        let bytes = self.decode(address, 64);
        // What of the registers is n plus a constant.
        let mut values: HashMap<Register, u64> = HashMap::from([(Register::RSI, 0)]);
        for instruction in Decoder::with_ip(64, &bytes, address, DecoderOptions::NONE).into_iter().take(12) {
            let (to, from) = (instruction.op0_register(), instruction.op1_register());
            match (instruction.mnemonic(), instruction.op1_kind()) {
                (Mnemonic::Lea, _) => {
                    let plain = instruction.memory_index() == Register::None && to.is_gpr64();
                    let value = values.get(&instruction.memory_base()).filter(|_| plain).copied();
                    set(&mut values, to, value.map(|value| value.wrapping_add(instruction.memory_displacement64())));
                }
                (Mnemonic::Mov, OpKind::Register) if to.is_gpr64() => {
                    let value = values.get(&from).copied();
                    set(&mut values, to, value);
                }
                (Mnemonic::Add, _) if to.is_gpr64() && is_immediate(&instruction) => {
                    let value = values.get(&to).map(|value| value.wrapping_add(instruction.immediate(1)));
                    set(&mut values, to, value);
                }
                (Mnemonic::Inc, _) if to.is_gpr64() => {
                    let value = values.get(&to).map(|value| value.wrapping_add(1));
                    set(&mut values, to, value);
                }
                // A build that checks for overflow.
                (Mnemonic::Jb, _) | (Mnemonic::Je, _) => {}
                (Mnemonic::Push | Mnemonic::Endbr64 | Mnemonic::Nop, _) => {}
                (Mnemonic::Pop, _) => set(&mut values, to, None),
                (Mnemonic::Ret, _) => return values.get(&Register::RAX).copied(),
                _ => return None,
            }
        }
        None
    }

    /// True if a function soon reads what its third argument points to: for `encrypt` that is the message, as the
    /// first is the place of its result.
    fn reads_message(&self, address: u64) -> bool {
        let mut message = Copies::of(Register::RDX);
        for instruction in self.body(address, 96) {
            if reads(&instruction).is_some_and(|(base, at)| message.has(base) && at <= 40) {
                return true;
            }
            if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
                message.forget_volatile();
            }
            message.follow(&instruction);
        }
        false
    }

    /// The fewest bytes that a function `decrypt(result, self, &message, sequence)` accepts.
    fn shortest(&self, address: u64) -> Option<u64> {
        let mut message = Copies::of(Register::RDX);
        let mut length = Copies::default();
        let body = self.body(address, 48);
        for (index, instruction) in body.iter().enumerate() {
            let read = reads(instruction).filter(|(base, at)| message.has(*base) && matches!(at, 8 | 16));
            if matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Sub)
                && is_immediate(instruction)
                && (read.is_some() || length.has(instruction.op0_register()))
                && let Some(most) = limit(&body, index)
                && matches!(most, 15 | 23)
            {
                return Some(most + 1);
            }
            if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall | FlowControl::Return)
            {
                return None;
            }
            message.follow(instruction);
            length.follow(instruction);
            if instruction.mnemonic() == Mnemonic::Mov && read.is_some() && instruction.op0_register().is_gpr64() {
                length.add(instruction.op0_register());
            }
        }
        None
    }

    /// What a function, and if `deep` what it calls, compares numbers with, near 2^14: the greatest value that passes.
    fn limits(&self, address: u64, deep: bool) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut callees = BTreeSet::new();
        let body = self.body(address, 1200);
        let mut collect = |body: &[Instruction]| {
            for (index, instruction) in body.iter().enumerate() {
                if instruction.mnemonic() == Mnemonic::Cmp && is_immediate(instruction) {
                    found.extend(limit(body, index).filter(|most| (FRAGMENT..FRAGMENT + 32).contains(most)));
                }
            }
        };
        collect(&body);
        if deep {
            for instruction in &body {
                let leaves = matches!(instruction.code(), Code::Call_rel32_64 | Code::Jmp_rel32_64);
                if leaves && callees.len() < 16 {
                    callees.insert(instruction.near_branch_target());
                }
            }
            for callee in callees {
                collect(&self.body(callee, 200));
            }
        }
        found
    }

    /// True if a function adds this to a number that it read at offset 8 of its third argument, the length of a slice.
    fn adds_to_length(&self, address: u64, added: u64) -> bool {
        let mut message = Copies::of(Register::RDX);
        let mut length = Copies::default();
        for instruction in self.body(address, 400) {
            let to = instruction.op0_register();
            let sum = match instruction.mnemonic() {
                Mnemonic::Add if is_immediate(&instruction) && length.has(to) => Some(instruction.immediate(1)),
                Mnemonic::Lea if length.has(instruction.memory_base()) => Some(instruction.memory_displacement64()),
                _ => None,
            };
            if sum == Some(added) {
                return true;
            }
            let read = reads(&instruction).filter(|(base, at)| message.has(*base) && *at == 8);
            if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
                message.forget_volatile();
                length.forget_volatile();
            }
            message.follow(&instruction);
            length.follow(&instruction);
            if instruction.mnemonic() == Mnemonic::Mov && read.is_some() && to.is_gpr64() {
                length.add(to);
            }
        }
        false
    }
}

/// The registers that hold copies of one value.
#[derive(Default)]
struct Copies(Vec<Register>);

impl Copies {
    fn of(register: Register) -> Self {
        Self(vec![register])
    }

    fn has(&self, register: Register) -> bool {
        self.0.contains(&register)
    }

    fn add(&mut self, register: Register) {
        if !self.has(register) {
            self.0.push(register);
        }
    }

    fn remove(&mut self, register: Register) {
        self.0.retain(|held| *held != register);
    }

    /// After an instruction.
    fn follow(&mut self, instruction: &Instruction) {
        if instruction.op0_kind() != OpKind::Register
            || matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push)
        {
            return;
        }
        let to = instruction.op0_register();
        let copied = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op1_kind() == OpKind::Register
            && self.has(instruction.op1_register());
        if copied { self.add(to) } else { self.remove(to.full_register()) }
    }

    /// After a call: System V ABI for AMD64, figure 3.4.
    fn forget_volatile(&mut self) {
        use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
        for register in [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11] {
            self.remove(register);
        }
    }
}

fn set(values: &mut HashMap<Register, u64>, register: Register, value: Option<u64>) {
    match value {
        Some(value) => values.insert(register, value),
        None => values.remove(&register),
    };
}

/// Target of a jump within the function; its beginning for one that leaves it.
fn near(instruction: &Instruction, start: u64) -> u64 {
    let target = instruction.near_branch_target();
    if target > start && target - start < BODY as u64 { target } else { start }
}

/// Base register and offset of the memory that an instruction reads, without an index.
fn reads(instruction: &Instruction) -> Option<(Register, u64)> {
    let memory = (0..instruction.op_count()).any(|at| instruction.op_kind(at) == OpKind::Memory);
    let plain = memory && instruction.memory_index() == Register::None && instruction.mnemonic() != Mnemonic::Lea;
    plain.then(|| (instruction.memory_base(), instruction.memory_displacement64()))
}

/// True if the second operand is a constant.
fn is_immediate(instruction: &Instruction) -> bool {
    use OpKind::{
        Immediate8, Immediate8to16, Immediate8to32, Immediate8to64, Immediate16, Immediate32, Immediate32to64,
    };
    instruction.op_count() == 2
        && matches!(
            instruction.op1_kind(),
            Immediate8 | Immediate8to16 | Immediate8to32 | Immediate8to64 | Immediate16 | Immediate32 | Immediate32to64
        )
}

/// The greatest number that a comparison with a constant tells from greater ones, by the condition that follows.
fn limit(body: &[Instruction], index: usize) -> Option<u64> {
    let constant = body.get(index)?.immediate(1);
    for instruction in body.get(index + 1..)?.iter().take(6) {
        match instruction.condition_code() {
            ConditionCode::a | ConditionCode::be => return Some(constant),
            ConditionCode::ae | ConditionCode::b => return constant.checked_sub(1),
            ConditionCode::None => {}
            _ => return None,
        }
        if matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Sub | Mnemonic::Add) {
            return None;
        }
    }
    None
}

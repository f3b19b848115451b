//! Invented programs for tests: a few instructions of x86-64 and strings, as an ELF file.

use std::collections::BTreeMap;

use crate::targets::image::Image;

/// Address and file offset of the code.
pub const CODE: (u64, u64) = (0x40_1000, 0x1000);

/// Address and file offset of the strings.
pub const STRINGS: (u64, u64) = (0x60_0000, 0x10_000);

/// How a function is given the place of a name and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `lea r64, [rip+d]` and `mov r32, imm32`: library, 0, reason, file, line.
    Relative,
    /// `mov r32, imm32` for all: library, reason, file, line.
    Absolute,
    /// `lea`, and `push imm8; pop r64`: library, 0, reason, file, line.
    Small,
}

/// A program that is being written.
#[derive(Default)]
pub struct Program {
    code: Vec<u8>,
    strings: Vec<u8>,
    labels: BTreeMap<String, usize>,
    /// Where the distance to a label goes.
    jumps: Vec<(usize, String)>,
}

impl Program {
    /// A program with one string, at [`STRINGS`].
    pub fn new(string: &[u8]) -> Self {
        Self { strings: string.to_vec(), ..Self::default() }
    }

    /// A function begins here, or something else that is jumped to.
    pub fn label(&mut self, name: &str) -> &mut Self {
        self.labels.insert(name.to_owned(), self.code.len());
        self
    }

    /// A function begins, at the next multiple of 16.
    pub fn function(&mut self, name: &str) -> &mut Self {
        self.code.resize(self.code.len().next_multiple_of(16), 0xcc);
        self.label(name)
    }

    /// Instructions.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.code.extend(bytes);
        self
    }

    fn jump(&mut self, opcode: &[u8], to: &str) -> &mut Self {
        self.code.extend(opcode);
        self.jumps.push((self.code.len(), to.to_owned()));
        self.code.extend([0; 4]);
        self
    }

    /// `call`
    pub fn call(&mut self, to: &str) -> &mut Self {
        self.jump(&[0xe8], to)
    }

    /// `je`
    pub fn if_equal(&mut self, to: &str) -> &mut Self {
        self.jump(&[0x0f, 0x84], to)
    }

    /// `mov eax, n; ret`
    pub fn give(&mut self, number: i32) -> &mut Self {
        self.bytes(&[0xb8]).bytes(&number.to_le_bytes()).bytes(&[0xc3])
    }

    /// `OPENSSL_PUT_ERROR`, then returns -1.
    pub fn error(&mut self, style: Style, library: u8, reason: u32) -> &mut Self {
        // Register numbers: 1 rcx, 2 rdx, 6 rsi, 7 rdi.
        let (file, number) = if style == Style::Absolute { (2, 6) } else { (1, 2) };
        if style == Style::Absolute {
            let address = u32::try_from(STRINGS.0).unwrap();
            self.bytes(&[0xb8 + file]).bytes(&address.to_le_bytes());
        } else {
            let next = CODE.0 + self.code.len() as u64 + 7;
            let distance = i32::try_from(STRINGS.0 - next).unwrap();
            self.bytes(&[0x48, 0x8d, 0x05 | file << 3]).bytes(&distance.to_le_bytes()).bytes(&[0x31, 0xf6]);
        }
        match style {
            Style::Small if reason < 128 => {
                let reason = u8::try_from(reason).unwrap();
                self.bytes(&[0x6a, reason, 0x58 + number, 0x6a, library, 0x5f]);
            }
            _ => {
                self.bytes(&[0xb8 + number]).bytes(&reason.to_le_bytes()).bytes(&[0xbf, library, 0, 0, 0]);
            }
        }
        self.call("ERR_put_error").give(-1)
    }

    /// Address of a label.
    pub fn address(&self, label: &str) -> u64 {
        CODE.0 + self.labels[label] as u64
    }

    /// File offset of a label.
    pub fn offset(&self, label: &str) -> u64 {
        CODE.1 + self.labels[label] as u64
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut code = self.code.clone();
        for (at, to) in &self.jumps {
            let distance = self.labels[to] as i32 - *at as i32 - 4;
            code[*at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        let mut file = Vec::new();
        file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend(2u16.to_le_bytes());
        file.extend(62u16.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for word in [CODE.0, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 2, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        for (flags, (address, offset), size) in [(5u32, CODE, code.len()), (4, STRINGS, self.strings.len())] {
            file.extend(1u32.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for word in [offset, address, address, size as u64, size as u64, 0x1000] {
                file.extend(word.to_le_bytes());
            }
        }
        file.resize(CODE.1 as usize, 0);
        file.extend(code);
        file.resize(STRINGS.1 as usize, 0);
        file.extend(&self.strings);
        file
    }

    /// The file as the searches see it.
    pub fn image(&self) -> Image {
        Image::read(&self.file().as_slice()).unwrap()
    }
}

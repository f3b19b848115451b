//! A command line as the words that a POSIX shell would make of it, without expansion.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text after removal of quotes.
    pub text: String,
    /// True if some of it was quoted.
    pub quoted: bool,
    /// False if its quote was never closed: the text was cut.
    pub closed: bool,
}

/// Splits by the quoting rules of POSIX (XCU 2.2). Operators are words of their own; nothing is expanded.
pub fn words(text: &str) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut chars = text.chars().peekable();
    let new = || Word { text: String::new(), quoted: false, closed: true };
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = current.get_or_insert_with(new);
                word.quoted = true;
                word.closed = false;
                for c in chars.by_ref() {
                    if c == '\'' {
                        word.closed = true;
                        break;
                    }
                    word.text.push(c);
                }
            }
            '"' => {
                let word = current.get_or_insert_with(new);
                word.quoted = true;
                word.closed = false;
                while let Some(c) = chars.next() {
                    match c {
                        '"' => {
                            word.closed = true;
                            break;
                        }
                        '\\' => match chars.peek() {
                            Some('$' | '`' | '"' | '\\') => word.text.extend(chars.next()),
                            Some('\n') => {
                                chars.next();
                            }
                            _ => word.text.push('\\'),
                        },
                        _ => word.text.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => {
                    let word = current.get_or_insert_with(new);
                    word.quoted = true;
                    word.text.push(c);
                }
                None => {}
            },
            ' ' | '\t' | '\r' => out.extend(current.take()),
            '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => {
                out.extend(current.take());
                // A run of the same operator characters is one word: `&&`, `||`, `>>`.
                let mut operator = new();
                operator.text.push(c);
                while c != '\n'
                    && let Some(next) = chars.next_if_eq(&c)
                {
                    operator.text.push(next);
                }
                out.push(operator);
            }
            _ => current.get_or_insert_with(new).text.push(c),
        }
    }
    out.extend(current);
    out
}

/// True for `;`, `&&` and the like.
pub fn is_operator(word: &Word) -> bool {
    !word.quoted && word.text.starts_with(['\n', ';', '&', '|', '(', ')', '<', '>'])
}

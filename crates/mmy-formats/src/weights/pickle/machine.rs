//! The instructions.

use std::{collections::HashMap, io::Read};

use super::{Id, Limits, Name, Object, Source, Value, Values, torch};

/// Why an instruction cannot be followed.
pub(super) enum Fault {
    Io(std::io::Error),
    Bad(String),
}

pub(super) fn bad<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Bad(reason.into()))
}

pub(super) struct Machine {
    values: Values,
    stack: Vec<Id>,
    /// Heights of the stack where `MARK` stood.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Entries that were copied from one value into another.
    copied: usize,
    limits: Limits,
}

/// Longest name of a class or a storage, in bytes: such texts are copied.
pub(super) const MAX_NAME: usize = 1024;

/// Three values that short instructions would otherwise build by the million.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

impl Machine {
    pub(super) fn new(limits: Limits) -> Self {
        let values = Values(vec![Value::None, Value::Bool(false), Value::Bool(true)]);
        Machine { values, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), copied: 0, limits }
    }

    pub(super) fn into_values(self) -> Values {
        self.values
    }

    /// Follows instructions until `STOP`, and returns the value on top.
    pub(super) fn run(&mut self, source: &mut Source<'_, impl Read>) -> Result<Id, Fault> {
        loop {
            match source.opcode()? {
                b'.' => return self.pop(),
                code => self.step(code, source)?,
            }
        }
    }

    fn step(&mut self, code: u8, source: &mut Source<'_, impl Read>) -> Result<(), Fault> {
        match code {
            // The form of the pickle.
            0x80 => match source.array::<1>()? {
                [0..=5] => Ok(()),
                [version] => bad(format!("protocol {version} is not known")),
            },
            0x95 => source.array::<8>().map(drop),

            // The stack and the memo.
            b'(' => {
                self.room(self.marks.len())?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(&mark) if mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(drop),
            },
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            b'g' => {
                let key = number(&source.line()?)?;
                self.get(key)
            }
            b'h' => {
                let [key] = source.array()?;
                self.get(key.into())
            }
            b'j' => {
                let key = u32::from_le_bytes(source.array()?);
                self.get(key)
            }
            b'p' => {
                let key = number(&source.line()?)?;
                self.put(key)
            }
            b'q' => {
                let [key] = source.array()?;
                self.put(key.into())
            }
            b'r' => {
                let key = u32::from_le_bytes(source.array()?);
                self.put(key)
            }
            0x94 => self.put(self.memo.len() as u32),

            // Plain values.
            b'N' => self.push(NONE),
            0x88 => self.push(TRUE),
            0x89 => self.push(FALSE),
            b'I' => match &*source.line()? {
                "00" => self.push(FALSE),
                "01" => self.push(TRUE),
                text => self.new_value(integer(text)?),
            },
            b'J' => {
                let it = i32::from_le_bytes(source.array()?);
                self.new_value(Value::Int(it.into()))
            }
            b'K' => {
                let [it] = source.array()?;
                self.new_value(Value::Int(it.into()))
            }
            b'M' => {
                let it = u16::from_le_bytes(source.array()?);
                self.new_value(Value::Int(it.into()))
            }
            b'L' => {
                let line = source.line()?;
                self.new_value(integer(line.strip_suffix('L').unwrap_or(&line))?)
            }
            0x8A => {
                let [length] = source.array()?;
                self.long(length.into(), source)
            }
            0x8B => {
                let length = u32::from_le_bytes(source.array()?);
                self.long(length.into(), source)
            }
            b'F' => match source.line()?.trim().parse() {
                Ok(it) => self.new_value(Value::Float(it)),
                Err(_) => bad("not a number"),
            },
            b'G' => {
                let it = f64::from_be_bytes(source.array()?);
                self.new_value(Value::Float(it))
            }
            b'S' => {
                let line = source.line()?;
                self.new_value(Value::Text(line.trim_matches(['\'', '"']).into()))
            }
            b'V' => {
                let line = source.line()?;
                self.new_value(Value::Text(line))
            }
            b'U' | 0x8C => {
                let [length] = source.array()?;
                self.text(length.into(), source)
            }
            b'T' | b'X' => {
                let length = u32::from_le_bytes(source.array()?);
                self.text(length.into(), source)
            }
            0x8D => {
                let length = u64::from_le_bytes(source.array()?);
                self.text(length, source)
            }
            b'C' => {
                let [length] = source.array()?;
                self.opaque(length.into(), source)
            }
            b'B' => {
                let length = u32::from_le_bytes(source.array()?);
                self.opaque(length.into(), source)
            }
            0x8E | 0x96 => {
                let length = u64::from_le_bytes(source.array()?);
                self.opaque(length, source)
            }

            // Lists, dictionaries, sets.
            b')' => self.new_value(Value::Tuple(Box::default())),
            b']' => self.new_value(Value::List(Vec::new())),
            b'}' => self.new_value(Value::Dict(Vec::new())),
            0x8F => self.new_value(Value::List(Vec::new())),
            b't' | 0x91 => {
                let items = self.pop_mark()?;
                self.new_value(Value::Tuple(items.into()))
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.new_value(Value::List(items))
            }
            b'd' => {
                let pairs = pairs(&self.pop_mark()?)?;
                self.new_value(Value::Dict(pairs))
            }
            0x85..=0x87 => {
                let items = self.pop_last(usize::from(code - 0x84))?;
                self.new_value(Value::Tuple(items.into()))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            b's' => {
                let pair = self.pop_last(2)?;
                self.fill(pairs(&pair)?)
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.fill(pairs(&items)?)
            }

            // Functions, classes, objects.
            b'c' => {
                let (module, name) = (source.line()?, source.line()?);
                self.new_value(Value::Global(Box::new(Name { module, name })))
            }
            0x93 => {
                let names = self.pop_last(2)?;
                match (self.values.get(names[0]), self.values.get(names[1])) {
                    (Value::Text(module), Value::Text(name)) if module.len().max(name.len()) <= MAX_NAME => {
                        let name = Name { module: module.clone(), name: name.clone() };
                        self.new_value(Value::Global(Box::new(name)))
                    }
                    _ => bad("the name of a class that is no name"),
                }
            }
            b'R' | 0x81 => {
                let [class, args] = self.pop_last(2)?[..] else { unreachable!("two were asked for") };
                self.call(class, args)
            }
            0x92 => {
                let [class, args, _] = self.pop_last(3)?[..] else { unreachable!("three were asked for") };
                self.call(class, args)
            }
            b'o' => {
                let items = self.pop_mark()?;
                let Some((&class, args)) = items.split_first() else { return bad("an object without a class") };
                let args = self.add(Value::Tuple(args.into()))?;
                self.call(class, args)
            }
            b'i' => {
                let (module, name) = (source.line()?, source.line()?);
                let args = self.pop_mark()?;
                let args = self.add(Value::Tuple(args.into()))?;
                let class = self.add(Value::Global(Box::new(Name { module, name })))?;
                self.call(class, args)
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                // Attributes of tensors and dictionaries (`_metadata` of a state dict) say nothing of numbers.
                if let Value::Object(object) = &mut self.values.0[top.0 as usize] {
                    object.state = Some(state);
                }
                Ok(())
            }
            b'Q' => {
                let id = self.pop()?;
                let outcome = torch::persistent(&self.values, id)?;
                self.take(outcome, id, NONE)
            }
            b'P' => bad("a persistent name in text form, which PyTorch does not write"),
            0x82..=0x84 => bad("a code of Python's extension registry, whose meaning is not in the file"),
            0x97 | 0x98 => bad("a buffer outside of the pickle"),
            code => bad(format!("{code:#04x} is no instruction")),
        }
    }

    /// What a function would have returned; nothing is called.
    fn call(&mut self, class: Id, args: Id) -> Result<(), Fault> {
        let outcome = torch::result(&self.values, class, args)?;
        self.take(outcome, class, args)
    }

    fn take(&mut self, outcome: torch::Outcome, class: Id, args: Id) -> Result<(), Fault> {
        match outcome {
            torch::Outcome::Same(id) => self.push(id),
            torch::Outcome::New(value) => {
                // The one value that is copied, not taken from the stack: a dictionary from a list of pairs.
                if let Value::Dict(pairs) = &value {
                    self.copied += pairs.len();
                    self.room(self.copied)?;
                }
                self.new_value(value)
            }
            torch::Outcome::Unknown => {
                self.new_value(Value::Object(Box::new(Object { class, args, state: None, items: Vec::new() })))
            }
        }
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), Fault> {
        let top = self.top()?;
        // Subclasses of list are objects, of whose elements nothing is needed.
        if let Value::List(list) = &mut self.values.0[top.0 as usize] {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    fn fill(&mut self, pairs: Vec<(Id, Id)>) -> Result<(), Fault> {
        let top = self.top()?;
        match &mut self.values.0[top.0 as usize] {
            Value::Dict(all) => all.extend(pairs),
            Value::Object(object) => object.items.extend(pairs),
            _ => return bad("entries for something that is no dictionary"),
        }
        Ok(())
    }

    fn long(&mut self, length: u64, source: &mut Source<'_, impl Read>) -> Result<(), Fault> {
        if length > 8 {
            return self.opaque(length, source);
        }
        let bytes = source.bytes(length)?;
        let sign = if bytes.last().is_some_and(|it| it & 0x80 != 0) { 0xFF } else { 0 };
        let mut all = [sign; 8];
        all[..bytes.len()].copy_from_slice(&bytes);
        self.new_value(Value::Int(i64::from_le_bytes(all)))
    }

    fn text(&mut self, length: u64, source: &mut Source<'_, impl Read>) -> Result<(), Fault> {
        let text = source.text(length)?;
        self.new_value(Value::Text(text))
    }

    fn opaque(&mut self, length: u64, source: &mut Source<'_, impl Read>) -> Result<(), Fault> {
        source.skip(length)?;
        self.new_value(Value::Opaque)
    }

    fn room(&self, used: usize) -> Result<(), Fault> {
        if used < self.limits.values { Ok(()) } else { bad("more values than any checkpoint has") }
    }

    fn add(&mut self, value: Value) -> Result<Id, Fault> {
        self.room(self.values.0.len())?;
        self.values.0.push(value);
        Ok(Id(self.values.0.len() as u32 - 1))
    }

    fn new_value(&mut self, value: Value) -> Result<(), Fault> {
        let id = self.add(value)?;
        self.push(id)
    }

    fn push(&mut self, id: Id) -> Result<(), Fault> {
        self.room(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    /// The lowest place that may be taken from the stack.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Fault> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => bad("a value is missing on the stack"),
        }
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Id>, Fault> {
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= self.floor() => Ok(self.stack.split_off(at)),
            _ => bad("a value is missing on the stack"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => bad("a mark is missing on the stack"),
        }
    }

    fn get(&mut self, key: u32) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(&id) => self.push(id),
            None => bad(format!("entry {key} of the memo was never written")),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), Fault> {
        self.room(self.memo.len())?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        bad("a key without a value")
    }
}

fn number(text: &str) -> Result<u32, Fault> {
    text.trim().parse().or_else(|_| bad("not a number of the memo"))
}

fn integer(text: &str) -> Result<Value, Fault> {
    let text = text.trim();
    match text.parse() {
        Ok(it) => Ok(Value::Int(it)),
        Err(_) if text.trim_start_matches('-').bytes().all(|it| it.is_ascii_digit()) && text.len() > 18 => {
            Ok(Value::Opaque)
        }
        Err(_) => bad("not a number"),
    }
}

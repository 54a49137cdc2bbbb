//! Writes canonically what serialises itself, without making a value of it first. A value is not written so: the name of
//! each member of a map is copied here, as a map may make its names while it is written, and a value's are borrowed.
//!
//! INVARIANT: it is what [`canonical`](crate::canonical) writes of the value that would be made
//! (`what_is_typed_is_written_like_its_value`).

use std::borrow::Cow;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::{Error, Number, Value};

use crate::canonical::{USUAL_BYTES, by_units, write_number, write_string, write_value};

/// The canonical form of `value`.
pub(crate) fn written<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let out = Vec::with_capacity(USUAL_BYTES);
    let mut writer = Writer { out, members: Vec::new(), moved: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    /// The members of all objects that are open, those of the innermost last.
    members: Vec<Member>,
    /// What is about to be written in another order.
    moved: Vec<u8>,
}

/// A member that was written.
struct Member {
    name: Cow<'static, str>,
    /// Where it begins.
    at: usize,
    /// Where it ends, once its object is closed and was not in order.
    end: usize,
}

/// An array that is open.
struct Elements<'a> {
    writer: &'a mut Writer,
    is_first: bool,
    /// What closes it.
    end: &'static [u8],
}

/// An object that is open.
struct Members<'a> {
    writer: &'a mut Writer,
    /// Where its first member begins.
    start: usize,
    /// Which of the members that are open is its first.
    first: usize,
    /// What closes it.
    end: &'static [u8],
}

impl Writer {
    fn array(&mut self, end: &'static [u8]) -> Elements<'_> {
        self.out.push(b'[');
        Elements { writer: self, is_first: true, end }
    }

    fn object(&mut self, end: &'static [u8]) -> Members<'_> {
        self.out.push(b'{');
        let (start, first) = (self.out.len(), self.members.len());
        Members { writer: self, start, first, end }
    }

    /// Opens the object whose one member is named after a variant.
    fn variant(&mut self, name: &str) {
        self.out.push(b'{');
        write_string(&mut self.out, name);
        self.out.push(b':');
    }

    fn number(&mut self, number: &Number) {
        write_number(&mut self.out, number);
    }

    fn value(&mut self, value: &Value) {
        write_value(&mut self.out, value);
    }
}

impl Elements<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !self.is_first {
            self.writer.out.push(b',');
        }
        self.is_first = false;
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        self.writer.out.extend_from_slice(self.end);
    }
}

impl Members<'_> {
    fn name(&mut self, name: Cow<'static, str>) {
        let Writer { out, members, .. } = &mut *self.writer;
        if members.len() > self.first {
            out.push(b',');
        }
        let at = out.len();
        write_string(out, &name);
        out.push(b':');
        members.push(Member { name, at, end: at });
    }

    fn close(self) {
        let Self { writer: Writer { out, members, moved }, start, first, end } = self;
        let own = &mut members[first..];
        if !own.windows(2).all(|pair| by_units(&pair[0].name, &pair[1].name).is_lt()) {
            put_in_order(out, moved, start, own);
        }
        members.truncate(first);
        out.extend_from_slice(end);
    }
}

/// Puts the `members` in order that were written from `start` on. Of those with one name the last counts.
fn put_in_order(out: &mut Vec<u8>, moved: &mut Vec<u8>, start: usize, members: &mut [Member]) {
    let mut end = out.len();
    for member in members.iter_mut().rev() {
        member.end = end;
        // Before the comma in front of it; the first has the brace there.
        end = member.at - 1;
    }
    moved.clear();
    moved.extend_from_slice(&out[start..]);
    out.truncate(start);
    members.sort_unstable_by(|a, b| by_units(&a.name, &b.name).then(a.at.cmp(&b.at)));
    for (index, Member { name, at, end }) in members.iter().enumerate() {
        if members.get(index + 1).is_some_and(|next| next.name == *name) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(&moved[at - start..end - start]);
    }
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.value(&Value::Bool(value));
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.number(&value.into());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.number(&value.into());
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        // What is no number is nothing.
        self.value(&value.into());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        write_string(&mut self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        let mut array = self.array(b"]");
        for byte in value {
            array.element(byte)?;
        }
        array.close();
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.value(&Value::Null);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'a>, Error> {
        Ok(self.array(b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'a>, Error> {
        Ok(self.array(b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'a>, Error> {
        Ok(self.array(b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'a>, Error> {
        self.variant(variant);
        Ok(self.array(b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(self.object(b"}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Members<'a>, Error> {
        // No struct: `serde_json` takes it for the JSON that is in it, and here it would be written as what holds that.
        if name.starts_with("$serde_json::private::") {
            return Err(Error::custom("raw JSON is read before it is written canonically"));
        }
        Ok(self.object(b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Error> {
        self.variant(variant);
        Ok(self.object(b"}}"))
    }
}

macro_rules! arrays {
    ($($kind:ident: $element:ident;)*) => { $(
        impl $kind for Elements<'_> {
            type Ok = ();
            type Error = Error;

            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )* };
}

arrays! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! objects {
    ($($kind:ident)*) => { $(
        impl $kind for Members<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.name(name.into());
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )* };
}

objects! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let name = match serde_json::to_value(key)? {
            Value::String(name) => name,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return Err(Error::custom("the name of a member is text")),
        };
        self.name(name.into());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

//! The rpcs and the string fields of their requests, found by descriptor, so that no field is forgotten.

use muster_proto::DESCRIPTORS;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// The descriptors of `muster.v1`.
#[derive(Debug)]
pub struct Descriptors(FileDescriptorSet);

/// An rpc, and the type of its request.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// As in "muster.v1.DeviceService/Sync".
    pub name: String,
    request: String,
}

/// A string field, and the way to it.
#[derive(Clone, Debug)]
pub struct TextField {
    /// As in "info.hostname".
    pub path: String,
    numbers: Vec<u32>,
}

impl TextField {
    /// The bytes that set this field, to be put behind those of a message: the last one counts.
    #[must_use]
    pub fn set(&self, text: &str) -> Vec<u8> {
        self.numbers.iter().rev().fold(text.as_bytes().to_vec(), |inner, number| {
            let mut outer = Vec::new();
            encode_key(*number, WireType::LengthDelimited, &mut outer);
            encode_varint(inner.len() as u64, &mut outer);
            outer.extend(inner);
            outer
        })
    }
}

impl Default for Descriptors {
    fn default() -> Self {
        Self(FileDescriptorSet::decode(DESCRIPTORS).unwrap())
    }
}

impl Descriptors {
    /// Every rpc.
    #[must_use]
    pub fn rpcs(&self) -> Vec<Rpc> {
        let services = self.0.file.iter().filter(|file| file.package() == "muster.v1").flat_map(|file| &file.service);
        let rpc = |service: &str, method: &prost_types::MethodDescriptorProto| Rpc {
            name: format!("muster.v1.{service}/{}", method.name()),
            request: method.input_type().to_owned(),
        };
        services.flat_map(|service| service.method.iter().map(|method| rpc(service.name(), method))).collect()
    }

    /// Every string field of the request of an rpc, those of messages inside it too.
    #[must_use]
    pub fn text_fields(&self, rpc: &Rpc) -> Vec<TextField> {
        let mut fields = Vec::new();
        self.collect(&rpc.request, &TextField { path: String::new(), numbers: Vec::new() }, &mut fields);
        fields
    }

    fn message(&self, name: &str) -> Option<&DescriptorProto> {
        let name = name.strip_prefix(".muster.v1.")?;
        self.0.file.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name)
    }

    fn collect(&self, message: &str, way: &TextField, into: &mut Vec<TextField>) {
        for field in self.message(message).map(|message| message.field.as_slice()).unwrap_or_default() {
            let mut next = way.clone();
            if !next.path.is_empty() {
                next.path.push('.');
            }
            next.path.push_str(field.name());
            next.numbers.push(field.number().try_into().unwrap());
            match field.r#type() {
                Type::String => into.push(next),
                Type::Message => self.collect(field.type_name(), &next, into),
                _ => {}
            }
        }
    }
}

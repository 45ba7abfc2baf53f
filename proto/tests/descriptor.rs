//! What may travel is a property of the descriptor: integers and enumerations, and one random identifier.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn messages() -> Vec<DescriptorProto> {
    let set = FileDescriptorSet::decode(weighbridge_proto::DESCRIPTORS).unwrap();
    assert!(!set.file.is_empty());
    let mut found = Vec::new();
    let mut left: Vec<_> = set.file.into_iter().flat_map(|file| file.message_type).collect();
    while let Some(message) = left.pop() {
        left.extend(message.nested_type.clone());
        found.push(message);
    }
    found
}

#[test]
fn no_message_can_hold_text() {
    let allowed = [Type::Uint32, Type::Uint64, Type::Fixed32, Type::Fixed64, Type::Enum, Type::Bytes];
    let mut bytes_fields = Vec::new();
    for message in messages() {
        assert!(message.oneof_decl.is_empty() && message.extension.is_empty(), "{}", message.name());
        for field in &message.field {
            let name = format!("{}.{}", message.name(), field.name());
            assert!(allowed.contains(&field.r#type()), "{name} is a {:?}", field.r#type());
            if field.r#type() == Type::Bytes {
                bytes_fields.push(name);
            }
        }
    }
    assert_eq!(bytes_fields, ["Report.collector_id"], "the only bytes are the random identifier");
}

#[test]
fn field_numbers_are_the_published_ones() {
    // A number that changes breaks every collector in the field; a new field is added here with a new number.
    let published = [
        (
            "Report",
            "schema:1 collector_id:2 boot_epoch:3 sequence:4 window_start_s:5 window_s:6 catalogue_version:7 environment:8 vantage:9 gateway_product:10 cells:11 total_requests:12 total_attempts:13 total_input_tokens:14 total_output_tokens:15 dropped_requests:16 crc32c:17",
        ),
        ("Receipt", "boot_epoch:1 sequence:2 status:3 refusal:4 retry_after_ms:5 server_time_ms:6"),
    ];
    let messages = messages();
    assert_eq!(messages.len(), published.len());
    for (name, fields) in published {
        let message = messages.iter().find(|message| message.name() == name).unwrap();
        let actual: Vec<_> = message.field.iter().map(|f| format!("{}:{}", f.name(), f.number())).collect();
        assert_eq!(actual.join(" "), fields);
    }
}

#[test]
fn the_service_is_the_described_one() {
    let set = FileDescriptorSet::decode(weighbridge_proto::DESCRIPTORS).unwrap();
    let file = set.file.iter().find(|file| file.package() == "weighbridge.v1").unwrap();
    let service = &file.service[0];
    let method = &service.method[0];
    assert!(method.client_streaming() && method.server_streaming());
    assert_eq!((service.name(), method.name()), ("Uplink", "Deliver"));
    assert_eq!(
        (method.input_type(), method.output_type()),
        (".weighbridge.v1.Report", ".weighbridge.v1.Receipt")
    );
    assert_eq!(weighbridge_proto::uplink::uplink_server::SERVICE_NAME, "weighbridge.v1.Uplink");
}

#[test]
fn axes_have_the_numbers_of_the_wire() {
    use weighbridge_catalog::{Hosting, Openness};
    use weighbridge_proto::v1;
    for openness in Openness::ALL {
        let wire = v1::Openness::try_from(openness as i32).unwrap();
        let name = wire.as_str_name().strip_prefix("OPENNESS_").unwrap().to_lowercase().replace('_', "-");
        assert_eq!(name, openness.as_str());
        assert_eq!(Openness::from_number(openness as u64), Some(openness));
    }
    for hosting in Hosting::ALL {
        let wire = v1::Hosting::try_from(hosting as i32).unwrap();
        assert_eq!(wire.as_str_name().strip_prefix("HOSTING_").unwrap().to_lowercase(), hosting.as_str());
        assert_eq!(Hosting::from_number(hosting as u64), Some(hosting));
    }
    assert_eq!(v1::Openness::try_from(Openness::ALL.len() as i32), Err(prost::UnknownEnumValue(6)));
    assert_eq!(v1::Hosting::try_from(Hosting::ALL.len() as i32), Err(prost::UnknownEnumValue(5)));
}

#[test]
fn names_follow_the_wire() {
    use weighbridge_proto::v1::{
        Choice, Environment, GatewayProduct, Operation, Outcome, Refusal, Streaming, Vantage,
    };
    macro_rules! check {
        ($($type:ident $prefix:literal $between:literal),+) => {$(
            for value in $type::ALL {
                let name = value.as_str_name().strip_prefix($prefix).unwrap().to_lowercase();
                assert_eq!(name.replace('_', $between), value.name());
                assert_eq!($type::from_name(value.name()), Some(*value));
                assert_eq!($type::from_number(*value as u64), Some(*value));
            }
            assert_eq!($type::from_number(200), None);
            assert_eq!($type::from_name(""), None);
        )+};
    }
    // Products are spelled as their makers do: llm-d, ray-serve.
    check!(
        Environment "ENVIRONMENT_" "_", Vantage "VANTAGE_" "_", GatewayProduct "GATEWAY_PRODUCT_" "-",
        Operation "OPERATION_" "_", Outcome "OUTCOME_" "_", Choice "CHOICE_" "_", Streaming "STREAMING_" "_",
        Refusal "REFUSAL_" "_"
    );
}

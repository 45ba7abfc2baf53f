//! Any bytes as a sealed report, and any bytes as what is to be sealed: no panic; what is taken has one name, is within every range,
//! and sealed anew from what was understood it is understood the same; whatever else is changed of it, the checksum tells.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use weighbridge_proto::cells;
use weighbridge_proto::report::{self, CheckedReport, MAX_REPORT_BYTES, ReportError};
use weighbridge_proto::v1::Report;

fn again(report: &CheckedReport) -> Report {
    Report {
        schema: report::SCHEMA,
        collector_id: report.identity.collector.0.to_vec().into(),
        boot_epoch: report.identity.boot_epoch.0,
        sequence: report.identity.sequence.0,
        window_start_s: report.window_start.0,
        window_s: report.window_s,
        catalogue_version: report.catalogue_version,
        environment: report.environment.into(),
        vantage: report.vantage.into(),
        gateway_product: report.gateway_product.into(),
        cells: cells::pack(&report.cells),
        total_requests: report.totals.requests,
        total_attempts: report.totals.attempts,
        total_input_tokens: report.totals.input_tokens,
        total_output_tokens: report.totals.output_tokens,
        dropped_requests: report.dropped_requests,
        crc32c: 0,
    }
}

fn check(bytes: &[u8]) {
    let checked = match report::check(bytes) {
        Ok(checked) => checked,
        Err(error) => {
            assert!(!error.code().is_empty() && !error.refusal().name().is_empty());
            return;
        }
    };
    assert_eq!(report::identity(bytes), Some(checked.identity));
    assert!(bytes.len() <= MAX_REPORT_BYTES && checked.cells.len() <= cells::MAX_CELLS);
    let sealed = report::seal(&again(&checked));
    assert_eq!(report::check(&sealed).as_ref(), Ok(&checked), "sealed anew");
    for place in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.to_vec();
        changed[place] ^= 1;
        assert_ne!(report::check(&changed).as_ref(), Ok(&checked), "byte {place}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The checksum keeps nearly everything out: seal what decodes.
    if let Ok(report) = Report::decode(bytes) {
        let sealed = report::seal(&report);
        assert_ne!(report::check(&sealed).err(), Some(ReportError::Checksum));
        check(&sealed);
    }
});

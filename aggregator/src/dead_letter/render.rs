//! Letters as a table for people, JSON or CSV.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::letter::Letter;
use super::list::Listing;
use crate::table::{Format, columns, csv_field, time_text};

const TITLES: [&str; 9] = [
    "position",
    "time",
    "reason",
    "origin",
    "bytes",
    "collector_id",
    "boot_epoch",
    "sequence",
    "window_start",
];

/// The answer, with a newline at its end.
pub fn render(listing: &Listing, format: Format) -> String {
    match format {
        Format::Table => table(listing),
        Format::Json => format!("{:#}\n", as_json(listing)),
        Format::Csv => csv(listing),
    }
}

fn time(letter: &Letter) -> String {
    letter.time_ms.map(|ms| time_text(ms / 1_000)).unwrap_or_default()
}

fn row(letter: &Letter) -> [String; 9] {
    let origin = match (letter.original_partition, letter.original_offset) {
        (Some(partition), Some(offset)) => format!("{}/{partition}:{offset}", letter.original_topic),
        _ => letter.original_topic.clone(),
    };
    let [collector, boot_epoch, sequence, window] = match &letter.name {
        None => Default::default(),
        Some(name) => [
            name.collector.map(|id| format!("{id:?}")).unwrap_or_default(),
            name.boot_epoch.to_string(),
            name.sequence.to_string(),
            i64::try_from(name.window_start_s).map(time_text).unwrap_or_default(),
        ],
    };
    let bytes =
        if letter.is_omitted { format!("{} omitted", letter.bytes) } else { letter.bytes.to_string() };
    [
        letter.place.to_string(),
        time(letter),
        letter.reason.clone(),
        origin,
        bytes,
        collector,
        boot_epoch,
        sequence,
        window,
    ]
}

fn table(listing: &Listing) -> String {
    let Listing { waiting, matching, letters } = listing;
    if *matching == 0 {
        return format!("no letters; {waiting} wait in all\n");
    }
    let mut rows = vec![TITLES.map(str::to_owned).to_vec()];
    rows.extend(letters.iter().map(|letter| row(letter).to_vec()));
    let shown = letters.len();
    format!("{}\n{shown} shown of {matching}; {waiting} wait in all\n", columns(&rows))
}

fn csv(listing: &Listing) -> String {
    let mut out = TITLES.join(",") + "\n";
    for letter in &listing.letters {
        let fields = row(letter).map(|field| csv_field(&field));
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}", fields.join(","));
    }
    out
}

fn as_json(listing: &Listing) -> Value {
    let letters: Vec<Value> = listing.letters.iter().map(letter_json).collect();
    json!({ "waiting": listing.waiting, "matching": listing.matching, "letters": letters })
}

fn letter_json(letter: &Letter) -> Value {
    let name = letter.name.as_ref();
    json!({
        "position": letter.place.to_string(),
        "time": time(letter),
        "reason": letter.reason,
        "original_topic": letter.original_topic,
        "original_partition": letter.original_partition,
        "original_offset": letter.original_offset,
        "bytes": letter.bytes,
        "is_omitted": letter.is_omitted,
        "collector_id": name.and_then(|name| name.collector).map(|id| format!("{id:?}")),
        "boot_epoch": name.map(|name| name.boot_epoch),
        "sequence": name.map(|name| name.sequence),
        "window_start_s": name.map(|name| name.window_start_s),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::Name;
    use weighbridge_proto::report::CollectorId;

    fn letter(name: Option<Name>) -> Letter {
        Letter {
            place: "0:7".parse().unwrap(),
            time_ms: Some(1_795_435_200_123),
            reason: "checksum".to_owned(),
            original_topic: "reports".to_owned(),
            original_partition: Some(2),
            original_offset: Some(41),
            bytes: 130,
            is_omitted: name.is_none(),
            name,
        }
    }

    #[test]
    fn every_format_says_the_same() {
        let name = Name {
            collector: Some(CollectorId([7; 16])),
            boot_epoch: 5,
            sequence: 6,
            window_start_s: 1_795_435_200,
        };
        let letters = vec![letter(Some(name)), letter(None)];
        let listing = Listing { waiting: 9, matching: 3, letters };
        let table = render(&listing, Format::Table);
        assert!(table.contains("2 shown of 3; 9 wait in all"), "{table}");
        assert!(table.contains("130 omitted"), "{table}");
        let csv = render(&listing, Format::Csv);
        let row = "0:7,2026-11-23T12:00:00Z,checksum,reports/2:41,130,07070707070707070707070707070707,5,6,2026-11-23T12:00:00Z";
        assert_eq!(csv.lines().nth(1), Some(row));
        assert_eq!(
            csv.lines().nth(2),
            Some("0:7,2026-11-23T12:00:00Z,checksum,reports/2:41,130 omitted,,,,")
        );
        let json: Value = serde_json::from_str(&render(&listing, Format::Json)).unwrap();
        assert_eq!(json["letters"][0]["sequence"], 6);
        assert_eq!(json["letters"][1]["collector_id"], Value::Null);
        assert_eq!(render(&Listing::default(), Format::Table), "no letters; 0 wait in all\n");
    }
}

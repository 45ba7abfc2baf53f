INSERT INTO {database}.{stage:participation_1mo} (month, collector_id, participant, authenticated, vantage, open_requests, closed_requests, unknown_requests, built_from)
WITH contributor != toUUID('00000000-0000-0000-0000-000000000000') AS known
SELECT toDate('{partition}'), p.collector_id, argMin(if(known, p.contributor, p.collector_id), p.day), argMin(known, p.day), p.vantage,
       sum(p.open_requests), sum(p.closed_requests), sum(p.unknown_requests), {fingerprint}
FROM {whole}.participation_1d AS p
WHERE p.day >= toDate('{partition}') AND p.day < addMonths(toDate('{partition}'), 1)
GROUP BY p.collector_id, p.vantage

INSERT INTO {database}.{stage:participation_4w} (span, participant, authenticated, environment, vantage, collectors, active_days, open_days, possibly_open_days, requests,
    open_requests, closed_requests, unknown_requests, open_input_tokens, closed_input_tokens, unknown_input_tokens,
    open_output_tokens, closed_output_tokens, unknown_output_tokens, built_from)
WITH toDate('{partition}') AS span, contributor != toUUID('00000000-0000-0000-0000-000000000000') AS authenticated,
     bitShiftLeft(toUInt32(1), toUInt32(p.day) - toUInt32(span)) AS bit
SELECT span, if(authenticated, p.contributor, p.collector_id) AS participant, authenticated, CAST(p.environment, 'Int8') AS place, p.vantage,
       uniqExact(p.collector_id), bitCount(groupBitOr(if(p.requests > 0, bit, 0))), bitCount(groupBitOr(if(p.open_requests > 0, bit, 0))),
       bitCount(groupBitOr(if(p.open_requests + p.unknown_requests > 0, bit, 0))), sum(p.requests),
       sum(p.open_requests), sum(p.closed_requests), sum(p.unknown_requests),
       sum(p.open_input_tokens), sum(p.closed_input_tokens), sum(p.unknown_input_tokens),
       sum(p.open_output_tokens), sum(p.closed_output_tokens), sum(p.unknown_output_tokens), {fingerprint}
FROM {whole}.participation_1d AS p
WHERE p.day >= toDate('{partition}') AND p.day < toDate('{partition}') + 28
-- Left out of the second set, place is 0: all.
GROUP BY GROUPING SETS ((participant, authenticated, place, p.vantage), (participant, authenticated, p.vantage))

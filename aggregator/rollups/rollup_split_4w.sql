INSERT INTO {database}.{stage:rollup_split_4w} (span, environment, vantage, openness, hosting, contributor_bits, requests, input_tokens, output_tokens, built_from)
SELECT toDate('{partition}') AS span, environment, vantage, openness, hosting,
       groupBitOr(contributor_bits), sum(requests), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.rollup_split_1w
WHERE week >= toDate('{partition}') AND week < toDate('{partition}') + 28 AND outcome = 'ok' AND operation IN ('chat', 'text_completion')
GROUP BY span, environment, vantage, openness, hosting

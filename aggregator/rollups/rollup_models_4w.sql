INSERT INTO {database}.{stage:rollup_models_4w} (span, environment, vantage, model, provider, openness, hosting, operation, contributor_bits, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toDate('{partition}') AS span, environment, vantage, model, provider, openness, hosting, operation,
       groupBitOr(contributor_bits), sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.rollup_models_1w
WHERE week >= toDate('{partition}') AND week < toDate('{partition}') + 28
GROUP BY span, environment, vantage, model, provider, openness, hosting, operation

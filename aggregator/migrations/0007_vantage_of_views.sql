-- The views for people show one vantage, gateway: a sum over them counts a request once. What model servers behind a gateway and
-- clients counted is in traffic_cross_check: the same requests again, for comparison, never to be added.
--
-- The tables keep all vantages; who reads traffic_1h or ledger names one.

CREATE OR REPLACE VIEW {database}.traffic AS
SELECT t.hour AS hour, t.environment AS environment, t.vantage AS vantage, t.gateway_product AS gateway_product,
       if(m.name = '', concat('#', toString(t.model)), m.name) AS model, m.family AS family, m.developer AS developer,
       if(p.name = '', concat('#', toString(t.provider)), p.name) AS provider,
       t.openness AS openness, t.hosting AS hosting, t.operation AS operation, t.choice AS choice,
       t.streaming AS streaming, t.outcome AS outcome,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
LEFT JOIN {database}.models AS m ON m.id = t.model
LEFT JOIN {database}.providers AS p ON p.id = t.provider
WHERE t.vantage = 'gateway';

CREATE OR REPLACE VIEW {database}.traffic_cross_check AS
SELECT t.hour AS hour, t.environment AS environment, t.vantage AS vantage, t.gateway_product AS gateway_product,
       if(m.name = '', concat('#', toString(t.model)), m.name) AS model, m.family AS family, m.developer AS developer,
       if(p.name = '', concat('#', toString(t.provider)), p.name) AS provider,
       t.openness AS openness, t.hosting AS hosting, t.operation AS operation, t.choice AS choice,
       t.streaming AS streaming, t.outcome AS outcome,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
LEFT JOIN {database}.models AS m ON m.id = t.model
LEFT JOIN {database}.providers AS p ON p.id = t.provider
WHERE t.vantage != 'gateway';

CREATE OR REPLACE VIEW {database}.traffic_reclassified AS
SELECT t.hour AS hour, t.environment AS environment, t.vantage AS vantage, t.gateway_product AS gateway_product,
       dictGet('{database}.model_on_day', 'name', toUInt64(t.model), toDate32(t.hour)) AS model,
       dictGet('{database}.model_on_day', 'family', toUInt64(t.model), toDate32(t.hour)) AS family,
       dictGet('{database}.model_on_day', 'developer', toUInt64(t.model), toDate32(t.hour)) AS developer,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.hour)) AS licence,
       dictGetOrDefault('{database}.model_on_day', 'openness', toUInt64(t.model), toDate32(t.hour), toString(t.openness)) AS openness,
       t.openness AS counted_openness, t.hosting AS hosting, t.operation AS operation, t.choice AS choice,
       t.streaming AS streaming, t.outcome AS outcome,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
WHERE t.vantage = 'gateway';

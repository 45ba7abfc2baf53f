-- Gateways whose access logs are counted. Widening an enumeration rewrites no data, also where it is part of a sorting key.

ALTER TABLE {database}.ledger MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'envoy_ai_gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26) CODEC(ZSTD(1));

ALTER TABLE {database}.reports MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'envoy_ai_gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26) CODEC(ZSTD(1));

ALTER TABLE {database}.traffic_1h MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'envoy_ai_gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26) CODEC(ZSTD(1));

-- Roles and users for a ClickHouse that serves Weighbridge. Run it once as an administrator, after `weighbridge-aggregator migrate up`.
--
-- writer     load and rollups: inserts into tables and swaps partitions; it drops only stage tables, which it made itself
-- reader     a platform team: every view, exact; no table
-- publisher  whoever may not see a single organisation: only the views that suppress groups of fewer than five contributors
-- dashboards a user for Grafana: role reader, read only, bounded. Where several organisations report, give it role publisher instead
--
-- Views read as the user who migrated (SQL SECURITY DEFINER), so readers need no grant on a table. Names are those of the default
-- configuration: database weighbridge. Change the passwords. users.xml beside this file says the same for servers without SQL users.
--
-- CHANGEABLE_IN_READONLY needs `<access_control_improvements><settings_constraints_replace_previous>true` in the server's
-- configuration: Grafana's driver sets max_execution_time with every query, which readonly = 1 refuses otherwise.

CREATE ROLE IF NOT EXISTS weighbridge_writer;
GRANT SELECT, INSERT, OPTIMIZE ON weighbridge.* TO weighbridge_writer;
GRANT TABLE ENGINE ON MergeTree TO weighbridge_writer;
GRANT CREATE TABLE, ALTER DELETE ON weighbridge.* TO weighbridge_writer;
GRANT SELECT ON system.parts TO weighbridge_writer;
GRANT SELECT ON system.tables TO weighbridge_writer;
GRANT SELECT ON system.settings TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.traffic_1m_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.traffic_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.traffic_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_1m_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_5m_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_1w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_split_4w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_models_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_models_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_models_6h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_unknown_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_models_1w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_models_4w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_fallbacks_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_fallbacks_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_fallbacks_1w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_coverage_1h_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_coverage_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_coverage_1w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_retention_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.rollup_adoption_4w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.reporting_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.participation_1d_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.participation_4w_stage_* TO weighbridge_writer;
GRANT DROP TABLE ON weighbridge.participation_1mo_stage_* TO weighbridge_writer;
REVOKE ALTER DELETE ON weighbridge.ledger FROM weighbridge_writer;
REVOKE ALTER DELETE ON weighbridge.reports FROM weighbridge_writer;

CREATE ROLE IF NOT EXISTS weighbridge_publisher;
GRANT SELECT ON weighbridge.traffic_split TO weighbridge_publisher;
GRANT SELECT ON weighbridge.hosting TO weighbridge_publisher;
GRANT SELECT ON weighbridge.licences TO weighbridge_publisher;
GRANT SELECT ON weighbridge.model_split TO weighbridge_publisher;
GRANT SELECT ON weighbridge.fallbacks TO weighbridge_publisher;
GRANT SELECT ON weighbridge.coverage TO weighbridge_publisher;
GRANT SELECT ON weighbridge.adoption TO weighbridge_publisher;
GRANT SELECT ON weighbridge.production_share TO weighbridge_publisher;
GRANT SELECT ON weighbridge.retention TO weighbridge_publisher;
GRANT SELECT ON weighbridge.schema_version TO weighbridge_publisher;

CREATE ROLE IF NOT EXISTS weighbridge_reader;
GRANT weighbridge_publisher TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_split_1m TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_split_5m TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_split_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_split_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_split_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.outcomes_1m TO weighbridge_reader;
GRANT SELECT ON weighbridge.outcomes_5m TO weighbridge_reader;
GRANT SELECT ON weighbridge.outcomes_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.outcomes_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.outcomes_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_1m TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_6h TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.models_4w TO weighbridge_reader;
GRANT SELECT ON weighbridge.licences_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.licences_6h TO weighbridge_reader;
GRANT SELECT ON weighbridge.licences_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.licences_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.licences_4w TO weighbridge_reader;
GRANT SELECT ON weighbridge.fallbacks_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.fallbacks_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.fallbacks_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.coverage_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.coverage_1d TO weighbridge_reader;
GRANT SELECT ON weighbridge.coverage_1w TO weighbridge_reader;
GRANT SELECT ON weighbridge.newest_1h TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_cross_check TO weighbridge_reader;
GRANT SELECT ON weighbridge.traffic_reclassified TO weighbridge_reader;

CREATE SETTINGS PROFILE IF NOT EXISTS weighbridge_readonly SETTINGS
    readonly = 1,
    max_execution_time = 30 MIN 1 MAX 60 CHANGEABLE_IN_READONLY,
    max_memory_usage = 1000000000,
    max_rows_to_read = 20000000,
    max_result_rows = 100000,
    additional_table_filters CHANGEABLE_IN_READONLY,
    limit CHANGEABLE_IN_READONLY;

CREATE QUOTA IF NOT EXISTS weighbridge_dashboards KEYED BY user_name FOR INTERVAL 1 minute MAX queries = 3000, read_rows = 2000000000;

CREATE USER IF NOT EXISTS weighbridge_load IDENTIFIED WITH sha256_password BY 'change-me' DEFAULT ROLE weighbridge_writer;
GRANT weighbridge_writer TO weighbridge_load;
CREATE USER IF NOT EXISTS weighbridge_dashboards IDENTIFIED WITH sha256_password BY 'change-me'
    DEFAULT ROLE weighbridge_reader SETTINGS PROFILE weighbridge_readonly;
GRANT weighbridge_reader TO weighbridge_dashboards;
ALTER QUOTA weighbridge_dashboards TO weighbridge_dashboards;

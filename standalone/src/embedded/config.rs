//! The ClickHouse configuration of an embedded server: two files in its data folder.
//!
//! Written anew at each start, so a changed default reaches existing folders. Access is from 127.0.0.1 only, by
//! two users: `default` may do everything, `reader` may only read, bounded in memory and time.
//! The sizes are for a laptop: a server for millions of rows a second is deployed, not embedded.

use std::path::{Path, PathBuf};

/// All queries and caches together; ClickHouse's own default is 90 % of the machine.
const SERVER_MEMORY_BYTES: u64 = 2 << 30;
/// One query of `reader`: a dashboard panel needs a few MiB.
const READER_MEMORY_BYTES: u64 = 512 << 20;
/// A query takes no more threads than this fits into the server's free memory. ClickHouse's default, 1 GiB, would leave a panel one.
const READER_THREAD_BYTES: u64 = 64 << 20;
/// One query of `reader`.
const READER_SECONDS: u32 = 30;
/// Marks of the parts in use; the default of 5 GiB is for servers.
const MARK_CACHE_BYTES: u64 = 64 << 20;
/// Merges at a time. Two cores have no use for the default of 16.
const MERGE_THREADS: u32 = 2;
/// Threads of the pools that do little on one node (moves, fetches, clean-up); the defaults are 8 to 16.
const SMALL_POOL_THREADS: u32 = 2;
/// Threads for periodic tasks; with fewer, ClickHouse warns that it pauses some. The default is 512.
const SCHEDULE_THREADS: u32 = 8;
/// After this long without a request the server closes a connection. Short, because at its end the server waits
/// for open connections; clients reckon with 3 s, which is ClickHouse's old default.
const KEEP_ALIVE_SECONDS: u32 = 3;
/// How long the server waits at its end for open connections before it gives up on ending in order.
const SHUTDOWN_WAIT_SECONDS: u32 = 15;
/// The server's own log, kept twice at most.
const LOG_BYTES: u64 = 8 << 20;

/// Why the configuration could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct ConfigError {
    path: PathBuf,
    source: std::io::Error,
}

impl ConfigError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        "clickhouse_config"
    }
}

/// Writes both files into `data`, which is created when absent, and returns the path of the main one.
pub fn write(data: &Path, http_port: u16, tcp_port: Option<u16>) -> Result<PathBuf, ConfigError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ConfigError { path, source }
    };
    std::fs::create_dir_all(data).map_err(at(data))?;
    let data = std::path::absolute(data).map_err(at(data))?;
    let users_file = data.join("weighbridge-users.xml");
    let config_file = data.join("weighbridge-config.xml");
    std::fs::write(&users_file, users()).map_err(at(&users_file))?;
    std::fs::write(&config_file, server(&data, &users_file, http_port, tcp_port))
        .map_err(at(&config_file))?;
    Ok(config_file)
}

fn server(data: &Path, users_file: &Path, http_port: u16, tcp_port: Option<u16>) -> String {
    let tcp_port = tcp_port.map(|port| format!("<tcp_port>{port}</tcp_port>")).unwrap_or_default();
    format!(
        "<clickhouse>
  <logger><level>warning</level><log>{data}/clickhouse.log</log><size>{LOG_BYTES}</size><count>1</count></logger>
  <path>{data}/</path>
  <tmp_path>{data}/tmp/</tmp_path>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http_port}</http_port>
  {tcp_port}
  <keep_alive_timeout>{KEEP_ALIVE_SECONDS}</keep_alive_timeout>
  <shutdown_wait_unfinished>{SHUTDOWN_WAIT_SECONDS}</shutdown_wait_unfinished>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <max_server_memory_usage>{SERVER_MEMORY_BYTES}</max_server_memory_usage>
  <mark_cache_size>{MARK_CACHE_BYTES}</mark_cache_size>
  <background_pool_size>{MERGE_THREADS}</background_pool_size>
  <background_move_pool_size>{SMALL_POOL_THREADS}</background_move_pool_size>
  <background_fetches_pool_size>{SMALL_POOL_THREADS}</background_fetches_pool_size>
  <background_common_pool_size>{SMALL_POOL_THREADS}</background_common_pool_size>
  <background_schedule_pool_size>{SCHEDULE_THREADS}</background_schedule_pool_size>
  <merge_tree>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
",
        data = escape(data),
        users = escape(users_file),
    )
}

fn users() -> String {
    format!(
        "<clickhouse>
  <profiles>
    <default></default>
    <reader>
      <readonly>2</readonly>
      <max_memory_usage>{READER_MEMORY_BYTES}</max_memory_usage>
      <max_execution_time>{READER_SECONDS}</max_execution_time>
      <max_threads_min_free_memory_per_thread>{READER_THREAD_BYTES}</max_threads_min_free_memory_per_thread>
    </reader>
  </profiles>
  <quotas><default></default></quotas>
  <users>
    <default>
      <password></password><profile>default</profile><quota>default</quota>
      <networks><ip>127.0.0.1</ip></networks>
      <access_management>0</access_management>
    </default>
    <reader>
      <password></password><profile>reader</profile><quota>default</quota>
      <networks><ip>127.0.0.1</ip></networks>
    </reader>
  </users>
</clickhouse>
"
    )
}

/// A path as XML text.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_markup_stays_one_value() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a&b<c>");
        let file = write(&data, 1, Some(2)).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("a&amp;b&lt;c&gt;/</path>"));
        assert!(text.contains("<tcp_port>2</tcp_port>"));
    }

    #[test]
    fn no_native_port_unless_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), 1, None).unwrap();
        assert!(!std::fs::read_to_string(file).unwrap().contains("tcp_port"));
    }
}

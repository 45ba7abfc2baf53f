//! What an upstream's address proves: own machines, a known host, or nothing.
//!
//! In: a host, `host:port` or URL as a gateway spells it. Guarantees: pure, no allocation, linear, no name resolution.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name that DNS allows.
const MAX_HOST: usize = 253;

/// Endings of names that only resolve inside an organisation.
const PRIVATE_SUFFIXES: [&str; 9] =
    [".svc", ".local", ".internal", ".localhost", ".lan", ".intranet", ".corp", ".home", ".home.arpa"];

/// The host of an address, in lower case on the stack.
pub(crate) struct Host {
    text: [u8; MAX_HOST],
    length: usize,
}

impl Host {
    /// The host in `address`; `None` if there is none.
    pub(crate) fn of(address: &str) -> Option<Host> {
        let address = address.trim();
        if address.is_empty() {
            return None;
        }
        let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
        let authority =
            after_scheme.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            // More than one colon without brackets is a bare IPv6 address.
            None if authority.bytes().filter(|&byte| byte == b':').count() > 1 => authority,
            None => authority.split(':').next().unwrap_or_default(),
        };
        let host = host.trim_end_matches('.');
        if host.is_empty() || host.len() > MAX_HOST || !host.is_ascii() {
            return None;
        }
        let mut text = [0; MAX_HOST];
        for (to, from) in text.iter_mut().zip(host.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Some(Host { text, length: host.len() })
    }

    /// The host's name.
    pub(crate) fn as_str(&self) -> &str {
        // It was copied from a `str` that is ASCII.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }

    /// Whether only the organisation itself can reach it.
    pub(crate) fn is_private(&self) -> bool {
        let host = self.as_str();
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => private_v4(address),
            Ok(IpAddr::V6(address)) => private_v6(address),
            Err(_) => !host.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)),
        }
    }
}

fn private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // 100.64/10 is carrier-grade NAT, which clusters and overlay networks use for their own pods and machines.
    let shared = first == 100 && second & 0xc0 == 64;
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || shared
}

fn private_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(inner) => private_v4(inner),
        None => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// Whether `host` is of `pattern`: a whole name, `.suffix` (that domain and all below it), or `prefix*.suffix`.
pub(crate) fn host_matches(host: &str, pattern: &str) -> bool {
    if let Some((prefix, suffix)) = pattern.split_once('*') {
        return host.len() >= prefix.len() + suffix.len()
            && host.starts_with(prefix)
            && host.ends_with(suffix);
    }
    match pattern.strip_prefix('.') {
        Some(domain) => host == domain || host.ends_with(pattern),
        None => host == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_every_spelling() {
        for (address, host) in [
            ("https://API.OpenAI.com/v1/chat?x=1", "api.openai.com"),
            ("api.openai.com:443", "api.openai.com"),
            ("http://user:key@10.0.0.1:8000/", "10.0.0.1"),
            ("[::1]:8000", "::1"),
            ("fd00::1", "fd00::1"),
            ("dns:///vllm.llm.svc.cluster.local.:8000", "vllm.llm.svc.cluster.local"),
        ] {
            assert_eq!(
                Host::of(address).map(|host| host.as_str().to_owned()).as_deref(),
                Some(host),
                "{address}"
            );
        }
        for address in ["", "  ", "https://", ":8000", "h\u{e9}llo"] {
            assert!(Host::of(address).is_none(), "{address}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for (address, private) in [
            ("127.0.0.1:8000", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.9:80", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("169.254.1.1", true),
            ("8.8.8.8", false),
            ("[::1]", true),
            ("[fd12::3]:80", true),
            ("[2001:db8::1]", false),
            ("[::ffff:10.0.0.1]", true),
            ("localhost", true),
            ("vllm", true),
            ("vllm.models.svc", true),
            ("vllm.models.svc.cluster.local", true),
            ("gpu1.corp", true),
            ("host.docker.internal", true),
            ("internal.example.com", false),
            ("evil-local.com", false),
        ] {
            assert_eq!(Host::of(address).expect("a host").is_private(), private, "{address}");
        }
    }

    #[test]
    fn patterns_match_whole_labels() {
        assert!(host_matches("x.openai.azure.com", ".openai.azure.com"));
        assert!(host_matches("openai.azure.com", ".openai.azure.com"));
        assert!(!host_matches("fakeopenai.azure.com", ".openai.azure.com"));
        assert!(host_matches("bedrock-runtime.us-east-1.amazonaws.com", "bedrock*.amazonaws.com"));
        assert!(!host_matches("bedrock.amazonaws.com.evil.org", "bedrock*.amazonaws.com"));
    }
}

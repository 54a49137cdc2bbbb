//! nginx and Envoy as plain proxies before the same server, each on one core, without logs.

use std::path::Path;

use crate::process::{Server, free_port};

/// A proxy that governs nothing.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) port: u16,
}

/// nginx: one process, connections to the server kept.
pub(crate) fn nginx(dir: &Path, program: &Path, upstream: u16) -> anyhow::Result<Peer> {
    let (port, home) = (free_port()?, dir.display());
    let configuration = format!(
        "daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off; keepalive_requests 100000000;\n\
         {temporary}\
         upstream tools {{ server 127.0.0.1:{upstream}; keepalive 128; \
         keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://tools; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n",
        temporary = temporary(dir),
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let file = file.display().to_string();
    let server = Server::start(program, &["-e", "/dev/null", "-c", &file])?.listening(port)?;
    Ok(Peer { server, port })
}

/// Where nginx may put what it never has to put anywhere.
fn temporary(dir: &Path) -> String {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let line = |name: &&str| format!("  {name}_temp_path {}/nginx-{name};\n", dir.display());
    paths.iter().map(line).collect()
}

/// Envoy: one worker, HTTP/1.1 on both sides.
pub(crate) fn envoy(dir: &Path, program: &Path, upstream: u16) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let address = |port: u16| serde_json::json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.\
                  v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": { "virtual_hosts": [{
            "name": "tools",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "tools" } }],
        }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }],
    });
    let configuration = serde_json::json!({ "static_resources": {
        "listeners": [{
            "name": "in",
            "address": address(port),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }] }],
        }],
        "clusters": [{
            "name": "tools",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "tools",
                "endpoints": [{ "lb_endpoints": [{
                    "endpoint": { "address": address(upstream) },
                }] }],
            },
        }],
    } });
    let file = dir.join("envoy.json");
    std::fs::write(&file, serde_json::to_string_pretty(&configuration)?)?;
    let file = file.display().to_string();
    let arguments = ["-c", &file, "--concurrency", "1", "--log-level", "off"];
    let arguments = [&arguments[..], &["--disable-hot-restart"]].concat();
    let server = Server::start(program, &arguments)?.listening(port)?;
    Ok(Peer { server, port })
}

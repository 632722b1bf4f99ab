use serde_json::json;

use super::table::Format;
use super::*;

fn data() -> Json {
    json!({
        "State": {"Running": true, "Pid": 4711, "Status": "running"},
        "Config": {"Labels": {"a": "1", "b": "<2>"}, "Cmd": ["sh", "-c", "x"], "Env": null},
        "NetworkSettings": {
            "Ports": {"80/tcp": null, "8787/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8787"}]},
            "Networks": {"bridge": {"IPAddress": "10.0.0.2"}, "other": {"IPAddress": "10.1.0.2"}},
        },
    })
}

fn render(template: &str) -> String {
    Template::parse(template).and_then(|t| t.render(&data())).unwrap_or_else(|error| error.message)
}

/// Requirement: S0-T1.
#[test]
fn templates_that_people_know() {
    assert_eq!(render("{{.State.Pid}}"), "4711");
    assert_eq!(render("{{ range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"), "10.0.0.210.1.0.2");
    let ports = "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{with $conf}}{{(index . 0).HostPort}}{{else}}none{{end}} {{end}}";
    assert_eq!(render(ports), " 80/tcp -> none  8787/tcp -> 8787 ");
    assert_eq!(render(r#"{{(index (index .NetworkSettings.Ports "8787/tcp") 0).HostPort}}"#), "8787");
    assert_eq!(render("{{json .State}}"), r#"{"Running":true,"Pid":4711,"Status":"running"}"#);
    assert_eq!(render("{{json .Config.Labels}}"), r#"{"a":"1","b":"<2>"}"#);
    assert_eq!(render("{{json .}}"), data().to_string());
}

/// Requirement: S0-T1.
#[test]
fn the_language() {
    assert_eq!(render(r#"{{if eq .State.Status "exited" "running"}}y{{else}}n{{end}}"#), "y");
    assert_eq!(render("{{if and .State.Running (gt .State.Pid 1)}}y{{end}}"), "y");
    assert_eq!(render("{{with .State}}{{- .Pid -}}{{end}} {{/* nothing */}}."), "4711 .");
    assert_eq!(render(r#"{{$x := 3}}{{printf "%03d" $x}}|{{len .Config.Cmd}}|{{index .Config.Cmd 1}}"#), "003|3|-c");
    assert_eq!(
        render(r#"{{join .Config.Cmd " "}}|{{.State.Status | upper}}|{{title "a bc"}}"#),
        "sh -c x|RUNNING|A Bc"
    );
    assert_eq!(
        render(r#"{{pad "x" 1 2}}|{{truncate "abcdef" 3}}|{{lower "AB"}}|{{json (split "a,b" ",")}}"#),
        " x  |abc|ab|[\"a\",\"b\"]"
    );
    assert_eq!(render("{{range $i, $c := .Config.Cmd}}{{$i}}={{$c}} {{else}}none{{end}}"), "0=sh 1=-c 2=x ");
    assert_eq!(render("{{range .Config.Env}}x{{else}}none{{end}}"), "none");
    assert_eq!(render("{{len .Config.Env}}{{len .State.Status}}{{len .Config.Labels}}"), "072");
    assert_eq!(
        render("{{not .State.Running}} {{or .Config.Env .State.Pid}} {{ne 1 2}} {{le 2 2}}"),
        "false 4711 true true"
    );
}

/// Requirement: S0-T1.
#[test]
fn a_key_may_be_missing_and_a_field_not() {
    assert_eq!(render("{{.Config.Labels.zork}}"), "<no value>");
    assert_eq!(render("{{if .Config.Labels.zork}}y{{else}}n{{end}}{{.State.Pid}}"), "n4711");
    assert_eq!(render("{{.State.Zork}}"), "template parsing error: map has no entry for key: Zork");
    assert!(render("{{.State.Pid").starts_with("template parsing error: "));
    assert!(render("{{zork}}").starts_with("template parsing error: "));
}

/// Requirement: S0-T2.
#[test]
fn lists() {
    let rows = [json!({"ID": "1234", "Image": "a"}), json!({"ID": "5", "Image": "b"})];
    let columns = [("ID", "CONTAINER ID"), ("Image", "IMAGE")];
    let print = |asked| Format::new(asked, &columns, &columns).and_then(|f| f.render(&rows)).unwrap();
    assert_eq!(print(None), "CONTAINER ID   IMAGE\n1234           a\n5              b\n");
    assert_eq!(print(Some(r"table {{.Image}}\t{{.ID}}")), "IMAGE   CONTAINER ID\na       1234\nb       5\n");
    assert_eq!(print(Some("{{.ID}}")), "1234\n5\n");
    assert_eq!(print(Some("json")), "{\"ID\":\"1234\",\"Image\":\"a\"}\n{\"ID\":\"5\",\"Image\":\"b\"}\n");
    assert!(Format::new(Some("table {{.Zork}}"), &columns, &columns).is_err());
}

/// Requirement: P-20, S0-T1.
#[test]
fn damaged_templates_are_refused_or_rendered() {
    let good: [&[u8]; 5] = [
        b"{{.State.Pid}} {{json .Config}} {{range $k, $v := .Config.Labels}}{{$k}}={{$v | upper}}{{else}}none{{end}}",
        b"{{if and .State.Running (gt .State.Pid 1)}}y{{else if eq .State.Status \"x\"}}n{{end}}",
        b"{{with .NetworkSettings}}{{(index (index .Ports \"8787/tcp\") 0).HostPort}}{{end}}{{/* x */}}",
        b"{{$x := 3}}{{printf \"%03d|%s|%v\" $x .State.Status .Config}}{{len .Config.Cmd}}{{slice .State.Status 1 3}}",
        b"table {{pad .State.Status 2 3}}{{truncate .State.Status 4}}{{join .Config.Cmd \",\"}}{{split \"a,b\" \",\"}}",
    ];
    let words: [&[u8]; 8] = [b"{{end}}", b"{{range .}}", b"(", b")", b"|", b"$", b"index . ", b"%99999d"];
    let data = data();
    let mut rendered = 0;
    crate::mutation::each(&good, &words, 2_000, |text| {
        let Ok(text) = std::str::from_utf8(text) else { return };
        rendered += usize::from(Template::parse(text).and_then(|template| template.render(&data)).is_ok());
    });
    assert!(rendered > 100, "only {rendered} were rendered");
}

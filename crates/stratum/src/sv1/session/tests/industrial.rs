//! Braiins OS and others that speak BIP 310 in full; Antminers and others that cut names.

use super::*;

const HELLO: [&str; 2] = [
    r#"{"id":1,"method":"mining.subscribe","params":["bosminer-plus-tuner/0.2.0"]}"#,
    r#"{"id":2,"method":"mining.authorize","params":["garage.s19","x"]}"#,
];

fn configure(extensions: &str, options: &str) -> String {
    format!(r#"{{"id":3,"method":"mining.configure","params":[{extensions},{options}]}}"#)
}

#[test]
fn braiins_configures_several_extensions_in_any_order() {
    let options = r#"{"minimum-difficulty.value":2048,"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2,"info.hw-version":"x"}"#;
    for extensions in [
        r#"["minimum-difficulty","version-rolling","subscribe-extranonce","info","firmware-of-tomorrow"]"#,
        r#"["firmware-of-tomorrow","info","subscribe-extranonce","version-rolling","minimum-difficulty"]"#,
    ] {
        let answer = session().say(START, &[&configure(extensions, options)]);
        let expected = serde_json::json!({
            "version-rolling": true,
            "version-rolling.mask": "1fffe000",
            "minimum-difficulty": true,
            "subscribe-extranonce": true,
            "info": true,
            "firmware-of-tomorrow": false,
        });
        assert_eq!(answer[0]["result"], expected, "each is answered");
    }
}

#[test]
fn braiins_is_never_sent_less_than_the_difficulty_it_demands() {
    let mut session = session();
    let demand = configure(r#"["minimum-difficulty"]"#, r#"{"minimum-difficulty.value":3000}"#);
    let lines = session.say(START, &[&demand, HELLO[0], HELLO[1]]);
    assert_eq!(lines[3]["params"][0], 4096, "the next power of two");
    // Neither silence nor a wish leads below.
    let wish = r#"{"id":4,"method":"mining.suggest_difficulty","params":[1]}"#;
    assert_eq!(methods(&session.say(at(1), &[wish])), ["answer 4"]);
    let quiet = session.wait(2..=3_600);
    assert!(quiet.iter().all(|line| line["method"] == "mining.notify"), "{quiet:?}");
    // A demand of nothing takes it back, and silence counts again.
    let nothing = demand.replace("3000", "0");
    assert_eq!(session.say(at(3_600), &[&nothing])[0]["result"]["minimum-difficulty"], true);
    let lowered = session.wait(3_601..=7_200);
    assert!(lowered.iter().any(|line| line["method"] == "mining.set_difficulty"));
}

#[test]
fn braiins_may_raise_its_demand_while_it_mines() {
    let mut session = session();
    session.say(START, &HELLO);
    let demand = configure(r#"["minimum-difficulty"]"#, r#"{"minimum-difficulty.value":2.5}"#);
    let lines = session.say(at(1), &[&demand]);
    assert_eq!(methods(&lines), ["answer 3", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(lines[1]["params"][0], 4);
}

#[test]
fn a_demand_that_cannot_be_met_is_declined_and_changes_nothing() {
    for value in ["1e300", "-1", "\"many\"", "null"] {
        let mut session = session();
        let demand =
            configure(r#"["minimum-difficulty"]"#, &format!(r#"{{"minimum-difficulty.value":{value}}}"#));
        let lines = session.say(START, &[&demand, HELLO[0], HELLO[1]]);
        assert_eq!(lines[0]["result"]["minimum-difficulty"], false, "{value}");
        assert_eq!(lines[3]["params"][0].to_string(), "0.000244140625");
    }
    // Not even a device that demands more gets a share that is harder than a block.
    let mut session = session();
    let template = fixture::template();
    let bits = bitcoin::CompactTarget::from_consensus(0x1e03_77ae);
    session.on_job(fixture::job(poolbox_work_source::Template { bits, ..template }), START);
    let demand = configure(r#"["minimum-difficulty"]"#, r#"{"minimum-difficulty.value":1024}"#);
    let lines = session.say(START, &[&demand, HELLO[0], HELLO[1]]);
    assert_eq!(lines[3]["params"][0].to_string(), "0.0009765625");
}

#[test]
fn odd_configurations_are_answered_too() {
    for (params, result) in [
        ("[]", serde_json::json!({})),
        (
            r#"[["version-rolling"]]"#,
            serde_json::json!({"version-rolling": true, "version-rolling.mask": "1fffe000"}),
        ),
        (
            r#"[["version-rolling"],{"version-rolling.mask":"00000007"}]"#,
            serde_json::json!({"version-rolling": false, "version-rolling.mask": "00000000"}),
        ),
        (r#"{"version-rolling":1}"#, serde_json::json!({})),
        (r#"[[1,null],[]]"#, serde_json::json!({})),
    ] {
        let line = format!(r#"{{"id":3,"method":"mining.configure","params":{params}}}"#);
        assert_eq!(session().say(START, &[&line])[0]["result"], result, "{params}");
    }
}

#[test]
fn antminers_cut_user_names_at_63_characters_and_lose_a_label_at_most() {
    let npub = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d";
    let taproot = "tb1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqp3mvzv";
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    for (written, owner) in [(npub, key), (taproot, taproot), ("garage", "garage")] {
        let mut session = session();
        let cut: String = format!("{written}.rig-one").chars().take(63).collect();
        let line = format!(r#"{{"id":2,"method":"mining.authorize","params":["{cut}","x"]}}"#);
        assert_eq!(session.say(START, &[&line])[0]["result"], true, "{cut}");
        assert_eq!(session.0.workers.values().next().unwrap().owner.to_string(), owner);
    }
    // A key in hex is longer than that: better no miner than one who mines for nobody.
    let line = format!(r#"{{"id":2,"method":"mining.authorize","params":["{}","x"]}}"#, &key[..63]);
    let refused = session().say(START, &[&line]);
    assert!(refused[0]["result"].is_null() && refused[0]["error"][0] == 24, "{refused:?}");
}

use proptest::prelude::*;

use super::*;

fn open() -> Session {
    let who = || "garage.cpu1".to_owned();
    Session::open(Credentials { user: who(), password: "x".into(), user_agent: "test".into() }).0
}

fn subscribed() -> Session {
    let mut session = open();
    session.receive(r#"{"id":2,"result":[[],"abcd",4],"error":null}"#).unwrap();
    session
}

fn notify(id: &str) -> String {
    let zeros = "00".repeat(32);
    json!({ "id": null, "method": "mining.notify",
        "params": [id, zeros, "01", "02", [], "20000000", "1e0377ae", "65000000", false] })
    .to_string()
}

#[test]
fn a_job_that_comes_before_the_authorization_is_hashed_after_it() {
    let mut session = subscribed();
    assert_eq!(session.receive(&notify("1")).unwrap(), []);
    let actions = session.receive(r#"{"id":3,"result":true,"error":null}"#).unwrap();
    assert!(matches!(&actions[..], [Action::Authorized, Action::Hash(job)] if job.id == "1"), "{actions:?}");
}

#[test]
fn late_shares_are_sent_until_the_pool_calls_their_job_stale() {
    let mut session = subscribed();
    session.receive(r#"{"id":3,"result":true,"error":null}"#).unwrap();
    let actions = session.receive(&notify("1")).unwrap();
    let [Action::Hash(job)] = &actions[..] else { panic!("{actions:?}") };
    let late = Solution { job: Arc::clone(job), extranonce2: vec![0; 4], version: 0, nonce: 7 };
    session.receive(&notify("2")).unwrap();
    assert!(session.submit(&late).is_some());
    session.receive(&notify("3").replace("false", "true")).unwrap();
    assert_eq!(session.submit(&late), None);

    // A job of the same name on the next connection is another job.
    let mut next = subscribed();
    next.receive(&notify("1")).unwrap();
    assert_eq!(next.submit(&late), None);
}

#[test]
fn a_job_before_the_subscription_cannot_be_used() {
    let error = open().receive(&notify("1")).unwrap_err().to_string();
    assert_eq!(error, "the pool sent a mining.notify that cannot be used: it came before the subscription");
}

#[test]
fn a_job_with_a_wrong_field_names_it() {
    let wrong = notify("1").replace("1e0377ae", "difficult");
    let error = subscribed().receive(&wrong).unwrap_err().to_string();
    assert_eq!(error, "the pool sent a mining.notify that cannot be used: the bits: no 32-bit number");
}

#[test]
fn rejections_are_understood_however_they_are_written() {
    for (error, said) in [
        (json!([21, "Stale", null]), "Stale"),
        (json!({ "code": 21, "message": "Stale" }), "Stale"),
        (json!("Stale\u{1b}[2J"), "Stale[2J"),
        (Value::Null, "no reason given"),
    ] {
        assert_eq!(reason(&error), said);
    }
}

proptest! {
    #[test]
    fn no_line_breaks_the_session(
        method in prop::sample::select(&["notify", "set_difficulty", "set_extranonce", "set_version_mask"][..]),
        params in prop::collection::vec(
            prop_oneof![
                "[0-9a-f]{0,70}".prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                Just(json!([])),
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
            ],
            0..10,
        ),
        garbage in ".{0,60}",
    ) {
        let mut session = subscribed();
        let _ = session.receive(&json!({ "id": 3, "result": params, "error": params }).to_string());
        let _ = session.receive(&json!({ "method": format!("mining.{method}"), "params": params }).to_string());
        let _ = session.receive(&garbage);
    }
}

//! Who may read and write: a user with a password and the rights of the guide, over TLS.

use std::fmt::Debug;

use poolbox_journal::{QueueError, QuoteQueue, StreamQueue};
use poolbox_testnode::{TestRedis, free_port};
use serde_json::json;

use crate::audit::NETWORK;
use crate::carriage::{Pool, assert_all_is_taken_once, settings};
use crate::stand_in_mint::Books;

/// As in docs/operate.md.
const RIGHTS: &str = "~poolbox:* +@read +@write +@stream +@transaction +@connection -@dangerous";
const SECRET: &str = "correct-horse-battery";

fn says<T: Debug>(result: Result<T, QueueError>) -> String {
    let said = result.unwrap_err().to_string();
    assert!(!said.contains(SECRET) && !said.contains("wrong-horse"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_over_tls_takes_everything_and_nobody_else_does() {
    let directory = TestRedis::directory();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    std::fs::write(file("password"), format!("{SECRET}\n")).unwrap();
    std::fs::write(file("wrong"), "wrong-horse\n").unwrap();
    let (user, ca) = (file("password"), file("cert.pem"));
    let wrong = file("wrong");
    let acl = format!("user default off\nuser pool on >{SECRET} {RIGHTS}\n");
    std::fs::write(file("users.acl"), acl).unwrap();
    let port = free_port();
    let options = [
        format!("--port 0 --tls-port {port} --tls-auth-clients no"),
        "--tls-cert-file DIR/cert.pem --tls-key-file DIR/key.pem --tls-ca-cert-file DIR/cert.pem".to_owned(),
        "--aclfile DIR/users.acl".to_owned(),
    ];
    let redis = TestRedis::in_directory(directory, &options);
    let address = format!("localhost:{port}");
    let right = settings(
        &json!({ "address": address, "tls": true, "ca_file": ca, "user": "pool", "password_file": user }),
    );

    let mut pool = Pool::new();
    pool.mine(30).await;
    let identity = pool.identity();
    let (mut courier, _told) =
        poolbox_journal::Courier::new(right.clone(), pool.path.clone(), NETWORK, identity);
    pool.courier = Some(tokio::spawn(async move { courier.run().await }));
    let mut queue = StreamQueue::new(right, NETWORK);
    assert_all_is_taken_once(&mut Books::default(), &mut queue, &[&pool]).await;

    let mut books = Books::default();
    let mut look = async |json: &serde_json::Value| {
        let mut queue = StreamQueue::new(settings(json), NETWORK);
        says(books.look(&mut queue as &mut dyn QuoteQueue, 8).await)
    };
    let bad_password =
        json!({ "address": address, "tls": true, "ca_file": ca, "user": "pool", "password_file": wrong });
    let said = look(&bad_password).await;
    assert!(said.contains("uthentication") || said.contains("WRONGPASS"), "{said}");
    let nobody = json!({ "address": redis.socket() });
    assert!(look(&nobody).await.contains("NOAUTH"));
    // A certificate that nobody vouches for.
    let stranger = json!({ "address": address, "tls": true, "user": "pool", "password_file": user });
    assert!(look(&stranger).await.contains("certificate"));
    let no_file = json!({ "address": address, "user": "pool", "password_file": "/nowhere/password" });
    assert!(look(&no_file).await.contains("/nowhere/password"));
}

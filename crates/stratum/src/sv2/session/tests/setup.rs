//! The beginning of a connection, and what is no message at all.

use super::*;

#[test]
fn what_this_server_lacks_is_refused_with_its_code_and_flags() {
    let mut talk = Talk::new(pool());
    let heard = talk.set_up(REQUIRES_WORK_SELECTION);
    let error: SetupConnectionError<'_> = heard[0].read();
    assert_eq!((error.flags, error.error_code.as_bytes()), (2, &b"unsupported-feature-flags"[..]));
    assert!(talk.out.close.is_some());
}

#[test]
fn who_speaks_another_protocol_or_version_is_told_which_code_and_let_go() {
    for (protocol, versions, code) in [
        (SubProtocol::JobDeclarationProtocol, 2..=2, "unsupported-protocol"),
        (SubProtocol::TemplateDistributionProtocol, 2..=2, "unsupported-protocol"),
        (SubProtocol::MiningProtocol, 3..=4, "protocol-version-mismatch"),
        (SubProtocol::MiningProtocol, 0..=1, "protocol-version-mismatch"),
    ] {
        let mut talk = Talk::new(pool());
        let heard = talk.set_up_as(protocol, versions, 0);
        let error: SetupConnectionError<'_> = heard[0].read();
        assert_eq!((error.flags, error.error_code.as_bytes()), (0, code.as_bytes()));
        assert!(talk.out.close.is_some());
    }
    // All of the flags that are not known, and of those that are not supported.
    let mut talk = Talk::new(pool());
    let error: SetupConnectionError<'_> = talk.set_up(0xffff_ffff)[0].read();
    assert_eq!(error.flags, 0xffff_fffa);
    let mut talk = Talk::new(pool());
    let flags = 0b101;
    assert_eq!(
        types(&talk.set_up_as(SubProtocol::MiningProtocol, 1..=9, flags)),
        [MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS]
    );
}

#[test]
fn a_connection_is_set_up_first_and_once() {
    let mut talk = Talk::new(pool());
    assert!(!talk.session.ready());
    assert!(talk.open_extended("garage", 2).is_empty() && talk.out.close.is_some());
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    assert!(talk.session.ready(), "a proxy may wait for its first miner");
    assert!(talk.set_up(0).is_empty() && talk.out.close.is_some());
}

#[test]
fn extensions_are_declined_at_once_and_what_belongs_to_them_is_ignored() {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    // request_id 7, two extensions.
    let request = vec![7, 0, 2, 0, 2, 0, 0x34, 0x12];
    let mut sealed = talk.seal(1, 0, request);
    let heard = talk.event(|session, out| session.on_bytes(&mut sealed, START, out));
    assert_eq!((heard[0].extension, heard[0].message_type), (1, 2));
    assert_eq!(heard[0].payload, [7, 0, 2, 0, 2, 0, 0x34, 0x12, 0, 0]);
    for (extension, message_type) in [(0x1234, 0), (0x8001, 9), (0, 0xfe)] {
        let mut sealed = talk.seal(extension, message_type, vec![1; 40]);
        let heard = talk.event(|session, out| session.on_bytes(&mut sealed, START, out));
        assert!(heard.is_empty() && talk.out.close.is_none(), "{extension:#x}");
    }
    assert_eq!(talk.open_extended("garage", 2).len(), 3, "it goes on as if nothing had been");
}

#[test]
fn a_message_that_is_too_long_or_cut_short_ends_the_connection() {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    let mut long = talk.seal(0, mining::MESSAGE_TYPE_UPDATE_CHANNEL, vec![0; 8193]);
    // Before the rest of it has come.
    talk.event(|session, out| session.on_bytes(&mut long[..22], START, out));
    assert_eq!(talk.out.close, Some("a message was too long"));

    let (mut talk, ..) = mining_extended();
    let mut short = talk.seal(0, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, vec![0; 24]);
    talk.event(|session, out| session.on_bytes(&mut short, START, out));
    assert_eq!(talk.out.close, Some("a message could not be read"));
}

proptest::proptest! {
    /// Nothing a client sends can stop the server, before, during or after the handshake.
    #[test]
    fn any_bytes_are_survived(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), 1..8),
        encrypted in proptest::arbitrary::any::<bool>(),
    ) {
        let (mut talk, ..) = mining_extended();
        for mut piece in pieces {
            if encrypted && piece.len() > 3 {
                let message_type = 0x10 + piece[0] % 0x16;
                let mut header = vec![0, 0, message_type, piece.len() as u8, 0, 0];
                talk.engine.encrypt(&mut header).unwrap();
                talk.engine.encrypt(&mut piece).unwrap();
                header.append(&mut piece);
                piece = header;
            }
            talk.event(|session, out| session.on_bytes(&mut piece, START, out));
        }
    }
}

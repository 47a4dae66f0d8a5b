use bech32::primitives::iter::ByteIterExt;
use bitcoin::key::{TweakedPublicKey, XOnlyPublicKey};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bitcoin::{Address, KnownHrp, PubkeyHash, ScriptHash, WitnessProgram, WitnessVersion, hashes::Hash};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
// NIP-19's own example.
const NPUB: &str = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
const SEGWIT: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
const NETWORKS: [Network; 5] =
    [Network::Mainnet, Network::Testnet4, Network::Signet, Network::Regtest, Network::Devnet];

fn parse(user: &str) -> Result<Identity, OwnerError> {
    Identity::parse(user, Network::Devnet)
}

fn owner(user: &str) -> Result<Owner, OwnerError> {
    parse(user).map(|identity| identity.owner)
}

fn worker(user: &str) -> Result<String, OwnerError> {
    parse(user).map(|identity| identity.worker)
}

/// An offer with a description, an issuer's key and whatever fields are given.
fn offer(fields: &[(u8, &[u8])]) -> String {
    let bytes: Vec<u8> =
        fields.iter().flat_map(|(kind, value)| [&[*kind, value.len() as u8], *value].concat()).collect();
    let letters = bytes.into_iter().bytes_to_fes().map(bech32::Fe32::to_char);
    format!("lno1{}", letters.collect::<String>())
}

fn plain_offer() -> String {
    offer(&[(10, b"coffee"), (22, &[2; 33])])
}

fn address(kind: usize, seed: [u8; 32], network: Network) -> String {
    let network = network.to_bitcoin();
    let half = seed.first_chunk().copied().unwrap_or([0; 20]);
    let segwit = |version, program: &[u8]| {
        let program = WitnessProgram::new(version, program).unwrap();
        Address::from_witness_program(program, KnownHrp::from(network)).to_string()
    };
    match kind {
        0 => Address::p2pkh(PubkeyHash::from_byte_array(half), network).to_string(),
        1 => Address::p2sh_from_hash(ScriptHash::from_byte_array(half), network).to_string(),
        2 => segwit(WitnessVersion::V0, &half),
        3 => segwit(WitnessVersion::V0, &seed),
        _ => {
            let secret = SecretKey::from_slice(&seed).unwrap_or(SecretKey::from_slice(&[1; 32]).unwrap());
            let (key, _) = secret.x_only_public_key(&Secp256k1::new());
            Address::p2tr_tweaked(TweakedPublicKey::dangerous_assume_tweaked(key), network).to_string()
        }
    }
}

#[test]
fn each_kind_of_owner_is_recognised() {
    assert!(matches!(owner(KEY), Ok(Owner::Key(_))));
    assert_eq!(owner(&format!("{SEGWIT}.rig")), Ok(Owner::Address(SEGWIT.into())));
    assert_eq!(owner("alice@example.com/attic"), Ok(Owner::Lightning("alice@example.com".into())));
    assert_eq!(owner(&plain_offer()), Ok(Owner::Offer(plain_offer())));
    assert_eq!(owner("Garage.bitaxe"), Ok(Owner::Household("garage".into())));
    assert_eq!(owner(""), Ok(Owner::Household("home".into())));
}

#[test]
fn letter_case_makes_no_other_owner() {
    assert_eq!(owner(&SEGWIT.to_uppercase()), owner(SEGWIT));
    assert_eq!(owner(&KEY.to_uppercase()), owner(KEY));
    assert_eq!(owner(&NPUB.to_uppercase()), owner(NPUB));
    assert_eq!(owner(&plain_offer().to_uppercase()), owner(&plain_offer()));
    assert_eq!(owner("Alice@Example.COM"), owner("alice@example.com"));
    assert_eq!(owner("GARAGE"), owner("garage"));
    let mixed = owner(&SEGWIT.replace('q', "Q")).unwrap_err();
    assert!(matches!(mixed, OwnerError::BadAddress { .. }), "{mixed}");
}

#[test]
fn an_npub_is_the_key_with_even_y() {
    let hex = "027e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
    assert_eq!(parse(NPUB), parse(hex));
}

#[test]
fn the_worker_follows_the_dot_and_after_a_lightning_address_the_slash() {
    assert_eq!(worker("garage.bitaxe").as_deref(), Ok("bitaxe"));
    assert_eq!(worker("garage.bitaxe.2").as_deref(), Ok("bitaxe.2"));
    for without in ["garage", "garage.", "garage. ", SEGWIT, "alice@example.com", "alice@example.com/"] {
        assert_eq!(worker(without).as_deref(), Ok("worker"), "{without}");
    }
    assert_eq!(worker("alice@example.com/attic").as_deref(), Ok("attic"));
    for owner in [KEY, NPUB, SEGWIT, &plain_offer()] {
        assert_eq!(worker(&format!("{owner}.attic")).as_deref(), Ok("attic"), "{owner}");
    }
}

#[test]
fn a_worker_is_a_label_without_troublesome_characters() {
    assert_eq!(worker("garage.Küche #2").as_deref(), Ok("Küche-#2"));
    assert_eq!(worker("garage.a\"b\\c\u{7f}<d>").as_deref(), Ok("a-b-c--d-"));
    assert_eq!(worker(&format!("garage.{}", "x".repeat(63))).map(|worker| worker.len()), Ok(63));
    let long = parse(&format!("garage.{}", "x".repeat(64))).unwrap_err();
    assert!(matches!(long, OwnerError::BadWorker(_)), "{long}");
}

#[test]
fn a_short_name_is_a_name_whatever_it_resembles() {
    for name in ["mine", "1337", "3", "nina", "2nd-floor", "m", "lnd", "02c6047f", "x".repeat(24).as_str()] {
        assert_eq!(owner(&format!("{name}.rig")), Ok(Owner::Household(name.into())));
    }
}

#[test]
fn what_begins_like_an_address_is_no_name() {
    for name in ["bc1lover", "bc1", "tb1q", "BC1qw508d6qejx", "bcrt1-box"] {
        let error = parse(name).unwrap_err();
        assert!(matches!(error, OwnerError::BadAddress { .. }), "{error}");
    }
    for (name, secret) in [("lnbc1u1p", false), ("lnurl1dp68", false), ("nsec1vl029mgpspedva", true)] {
        let error = parse(name).unwrap_err();
        assert_eq!(error.to_string().contains(name), !secret, "{error}");
    }
}

#[test]
fn wrong_addresses_are_refused_with_the_reason() {
    let reason = |address: &str| match parse(address) {
        Err(OwnerError::BadAddress { reason, .. }) => reason,
        other => panic!("{address}: {other:?}"),
    };
    assert!(reason("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsy").contains("checksum"));
    assert!(reason("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3").contains("checksum"));
    assert!(reason("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN0").contains("characters"));
    assert!(reason("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx/rig").contains("characters"));
    let known = |version, program: &[u8]| {
        let program = WitnessProgram::new(version, program).unwrap();
        Address::from_witness_program(program, KnownHrp::Testnets).to_string()
    };
    // A version that is not in use, an anchor that anyone can spend, a point that is not on the curve.
    assert!(reason(&known(WitnessVersion::V2, &[7; 32])).contains("spend"));
    assert!(reason(&known(WitnessVersion::V16, &[7; 20])).contains("spend"));
    assert!(reason(&known(WitnessVersion::V1, &[0x4e, 0x73])).contains("spend"));
    assert!(XOnlyPublicKey::from_slice(&[0xff; 32]).is_err());
    assert!(reason(&known(WitnessVersion::V1, &[0xff; 32])).contains("spend"));
}

#[test]
fn an_address_of_another_network_is_refused_and_names_ours() {
    for ours in NETWORKS {
        for theirs in NETWORKS {
            for kind in 0..5 {
                let text = address(kind, [7; 32], theirs);
                let fits = text == address(kind, [7; 32], ours);
                match Identity::parse(&text, ours).map(|identity| identity.owner) {
                    Ok(owner) => assert!(fits && owner == Owner::Address(text)),
                    Err(error) => {
                        assert!(!fits && error.to_string().contains(ours.name()), "{error}");
                        assert!(matches!(error, OwnerError::WrongNetwork { .. }), "{error}");
                    }
                }
            }
        }
    }
}

#[test]
fn wrong_keys_are_refused_and_not_repeated() {
    let uncompressed = format!("04{}", "5".repeat(128));
    for key in [&KEY.replace("02c6", "05c6"), &KEY[1..], &KEY[2..], &format!("{KEY}0"), &uncompressed] {
        let error = parse(key).unwrap_err();
        assert!(matches!(error, OwnerError::BadKey(_)), "{error}");
        assert!(!error.to_string().contains(&key[..12]), "{error}");
    }
    assert!(matches!(parse(&NPUB.replace("ptg", "pth")), Err(OwnerError::BadKey(_))));
}

#[test]
fn lightning_addresses_have_a_name_and_a_domain() {
    for good in ["alice+tips@example.com", "a.b-c_d@sub.example.co", "npub1xyz@npub.cash", "x@9.example"] {
        assert!(matches!(owner(good), Ok(Owner::Lightning(_))), "{good}");
    }
    for bad in [
        "alice@",
        "@example.com",
        "alice@example",
        "alice@.com",
        "alice@example.com.",
        "alice@exa mple.com",
        "alice@-example.com",
        "alice@192.168.1.5",
        "a!ice@example.com",
        "alice@bob@example.com",
        "älice@example.com",
        &format!("alice@{}.com", "x".repeat(64)),
    ] {
        assert!(matches!(owner(bad), Err(OwnerError::BadLightningAddress(_))), "{bad}");
    }
}

#[test]
fn an_offer_is_complete_or_refused() {
    // BOLT 12's example of an offer with a description and a node id.
    let example = "lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcnygrfdej82um5wf5k2uckyypwa3eyt44h6txtxquqh7lz5djge4afgfjn7k4rgrkuag0jsd5xvxg";
    assert_eq!(owner(example), Ok(Owner::Offer(example.into())));
    // As firmwares cut it off.
    for length in (5..example.len()).filter(|length| *length != example.len()) {
        let error = owner(&example[..length]).unwrap_err();
        assert!(matches!(error, OwnerError::BadOffer(_)), "{length}: {error}");
    }
    let long = offer(&[(10, &[b'x'; 200]), (22, &[2; 33])]);
    assert!(matches!(owner(&long), Ok(Owner::Offer(_))));
    let out_of_order = offer(&[(22, &[2; 33]), (10, b"coffee")]);
    let nobody = offer(&[(10, b"coffee")]);
    let mixed_case = plain_offer().replace("lno1p", "lno1P").replace("lno1z", "lno1Z").replace('q', "Q");
    let foreign = plain_offer().replacen('q', "b", 1);
    for bad in [out_of_order, nobody, mixed_case, foreign, format!("{}q", plain_offer()), "lno1".into()] {
        assert!(matches!(owner(&bad), Err(OwnerError::BadOffer(_))), "{bad}");
    }
}

#[test]
fn what_a_miner_is_told_fits_its_log() {
    for user in [
        "x".repeat(1000),
        format!("bc1{}", "q".repeat(1000)),
        format!("lno1{}", "q".repeat(900)),
        format!("a@{}", "q".repeat(900)),
        format!("npub1{}", "q".repeat(900)),
        "ü".repeat(200),
        address(4, [9; 32], Network::Mainnet),
    ] {
        let error = parse(&user).unwrap_err().to_string();
        assert!(error.len() <= 300 && error.lines().count() == 1, "{}: {error}", error.len());
    }
}

/// One character of a text changed, lost or added.
fn slip(text: &str, at: Index, letter: char, how: u8) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    match how {
        0 => letters[at.index(text.len())] = letter,
        1 => drop(letters.remove(at.index(text.len()))),
        2 => letters.insert(at.index(text.len() + 1), letter),
        // What a copy loses or gains most easily.
        3 => drop(letters.pop()),
        4 => drop(letters.remove(0)),
        _ => letters.push(letter),
    }
    letters.into_iter().collect()
}

/// Any printable character, and often one that separates or is a usual slip.
fn letters() -> impl Strategy<Value = char> {
    prop_oneof![
        proptest::char::range(' ', '~'),
        select(vec!['.', '/', '@', '-', '_', '1', 'l', 'O', '0', ' ', 'q', 'p', 'ü']),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_slip_in_an_address_never_makes_another_owner(
        kind in 0..5usize, seed: [u8; 32], theirs in select(NETWORKS.to_vec()), ours in select(NETWORKS.to_vec()),
        upper: bool, with_worker: bool, at: Index, letter in letters(), how in 0..6u8,
    ) {
        let right = address(kind, seed, theirs);
        let segwit = kind >= 2;
        let written = if upper && segwit { right.to_uppercase() } else { right.clone() };
        let user = slip(&written, at, letter, how) + if with_worker { ".rig" } else { "" };
        match Identity::parse(&user, ours) {
            Ok(identity) => prop_assert_eq!(identity.owner, Owner::Address(right), "{}", user),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_slip_in_a_key_or_an_offer_never_makes_a_name(
        seed: [u8; 33], which in 0..3u8, with_worker: bool, at: Index, letter in letters(), how in 0..6u8,
    ) {
        let right = match which {
            0 => KEY.to_owned(),
            1 => NPUB.to_owned(),
            _ => offer(&[(10, b"coffee"), (22, &seed)]),
        };
        let user = slip(&right, at, letter, how) + if with_worker { ".rig" } else { "" };
        if let Ok(identity) = parse(&user) {
            prop_assert!(!matches!(identity.owner, Owner::Household(_) | Owner::Lightning(_)), "{}", user);
            // The checksum of an npub finds any slip; hex digits have none.
            prop_assert!(which != 1 || parse(&right).map(|right| right.owner) == Ok(identity.owner), "{}", user);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_canonical(user in ".{0,120}") {
        if let Ok(identity) = parse(&user) {
            let again = Owner::parse(&identity.owner.to_string(), Network::Devnet);
            prop_assert_eq!(again.as_ref(), Ok(&identity.owner));
            prop_assert!(!identity.worker.is_empty());
        }
    }
}

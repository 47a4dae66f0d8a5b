//! A queue entry as the fields of a stream's entry, and back. Fields are text, so that a person can
//! read a stream with any client.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use poolbox_accounting::{Earns, Network, Owner, QueueSeq, ShareSeq, Work};
use redis::Value;

use crate::{QueueEntry, QuoteMessage};

/// Of an entry whose work earns ehash, and of one that announces a block.
const VERSION: &str = "1";
/// Of an entry whose work earns sats, which an older mint must not take for one of ehash.
const VERSION_OF_SATS: &str = "2";

/// The fields of an entry, name after value. `before` is when its predecessor was queued (0 for none):
/// the mint compares it with what it took last.
pub(super) fn fields(entry: &QueueEntry, before: u64) -> Vec<(&'static str, String)> {
    let version = match &entry.message {
        QuoteMessage::Create { earns: Earns::Sats, .. } => VERSION_OF_SATS,
        QuoteMessage::Create { earns: Earns::Ehash, .. } | QuoteMessage::Update { .. } => VERSION,
    };
    let mut fields =
        vec![("v", version.to_owned()), ("at", entry.at.to_string()), ("before", before.to_string())];
    match &entry.message {
        QuoteMessage::Create { owner, work, through, .. } => fields.extend([
            ("create", owner.to_string()),
            ("work", work.ehash().to_string()),
            ("through", through.to_string()),
        ]),
        QuoteMessage::Update { share, height, block_hash } => fields.extend([
            ("update", block_hash.to_string()),
            ("height", height.to_string()),
            ("share", share.to_string()),
        ]),
    }
    fields
}

/// Reads the fields of entry `seq`; also gives when its predecessor was queued.
///
/// # Errors
/// A phrase that names what is wrong.
pub(super) fn entry(
    seq: QueueSeq,
    fields: &HashMap<String, Value>,
    network: Network,
) -> Result<(QueueEntry, u64), String> {
    let version = text(fields, "v")?;
    let earns = match version.as_str() {
        VERSION => Earns::Ehash,
        VERSION_OF_SATS => Earns::Sats,
        _ => {
            return Err(format!(
                "entry {seq} has version {version}, this release reads up to {VERSION_OF_SATS}"
            ));
        }
    };
    let message = if fields.contains_key("create") || earns == Earns::Sats {
        QuoteMessage::Create {
            owner: Owner::parse(&text(fields, "create")?, network).map_err(|error| error.to_string())?,
            work: Work::from_ehash(number(fields, "work")?),
            through: ShareSeq::new(number(fields, "through")?),
            earns,
        }
    } else {
        QuoteMessage::Update {
            block_hash: number(fields, "update")?,
            height: number(fields, "height")?,
            share: ShareSeq::new(number(fields, "share")?),
        }
    };
    Ok((QueueEntry { seq, at: number(fields, "at")?, message }, number(fields, "before")?))
}

fn text(fields: &HashMap<String, Value>, name: &str) -> Result<String, String> {
    let value = fields.get(name).ok_or_else(|| format!("it has no field {name}"))?;
    redis::from_redis_value_ref(value).map_err(|_| format!("field {name} is no text"))
}

fn number<T: FromStr<Err: Display>>(fields: &HashMap<String, Value>, name: &str) -> Result<T, String> {
    text(fields, name)?.parse().map_err(|error| format!("field {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    use super::*;

    const NETWORK: Network = Network::Devnet;

    fn map(fields: Vec<(&'static str, String)>) -> HashMap<String, Value> {
        let value = |text: String| Value::BulkString(text.into_bytes());
        fields.into_iter().map(|(name, text)| (name.to_owned(), value(text))).collect()
    }

    fn message() -> impl Strategy<Value = QuoteMessage> {
        let create = ("[a-z][a-z0-9]{0,20}", any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
            |(owner, work, through, sats)| {
                let owner = Owner::parse(&owner, NETWORK).ok()?;
                Some(QuoteMessage::Create {
                    owner,
                    work: Work::from_ehash(work),
                    through: ShareSeq::new(through),
                    earns: if sats { Earns::Sats } else { Earns::Ehash },
                })
            },
        );
        let update = (any::<u64>(), any::<u32>(), any::<[u8; 32]>()).prop_map(|(share, height, hash)| {
            let (share, block_hash) = (ShareSeq::new(share), BlockHash::from_byte_array(hash));
            Some(QuoteMessage::Update { share, height, block_hash })
        });
        prop_oneof![create, update].prop_filter_map("a name that is an owner", |message| message)
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_went(
            seq in any::<u64>(), at in any::<u64>(), before in any::<u64>(), message in message(),
        ) {
            let sent = QueueEntry { seq: QueueSeq::new(seq), at, message };
            let came = entry(sent.seq, &map(fields(&sent, before)), NETWORK);
            prop_assert_eq!(came, Ok((sent, before)));
        }

        #[test]
        fn what_no_pool_wrote_is_refused_and_never_a_panic(
            written in prop::collection::hash_map("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..20), 0..8),
            message in message(), lost in 0usize..6, bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let foreign = written.into_iter().map(|(name, bytes)| (name, Value::BulkString(bytes))).collect();
            prop_assert!(entry(QueueSeq::new(1), &foreign, NETWORK).is_err());

            let sent = QueueEntry { seq: QueueSeq::new(1), at: 1, message };
            let mut damaged = map(fields(&sent, 0));
            let name = fields(&sent, 0)[lost].0;
            damaged.remove(name);
            prop_assert!(entry(sent.seq, &damaged, NETWORK).is_err(), "without {}", name);
            damaged.insert(name.to_owned(), Value::BulkString(bytes));
            // Whatever the bytes are: an answer.
            let _ = entry(sent.seq, &damaged, NETWORK);
        }
    }
}

//! What a source remembers across connections: the tips it saw and the transactions of the templates
//! on the last two of them. Written by the source, read by the users of its handle.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::BlockHash;
use tokio::sync::watch;

use crate::template::{Template, TemplateId};
use crate::transactions::Transactions;

/// Tips that are remembered.
const TIPS: usize = 64;
/// The tips whose templates keep their transactions: the present and the previous one.
const TIPS_WITH_TRANSACTIONS: usize = 2;
/// Templates that keep their transactions. With one every five seconds, those of the last ten minutes:
/// nobody works on an older one. Each costs 16 bytes a transaction besides what it shares.
const TEMPLATES: usize = 128;

/// The memory of one source.
#[derive(Debug)]
pub struct Recall {
    memory: Mutex<Memory>,
    /// Touched at every change.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Newest first.
    tips: VecDeque<BlockHash>,
    lists: BTreeMap<TemplateId, List>,
    /// Every transaction of `lists`, once.
    pool: HashSet<Arc<[u8]>>,
}

#[derive(Debug)]
struct List {
    prev_hash: BlockHash,
    transactions: Transactions,
}

impl Recall {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self { memory: Mutex::default(), news: watch::Sender::new(()) }
    }

    /// Notes that the tip is `hash`; the transactions of older ones go.
    pub fn see_tip(&self, hash: BlockHash) {
        {
            let mut memory = self.memory();
            if memory.tips.front() == Some(&hash) {
                return;
            }
            memory.tips.push_front(hash);
            memory.tips.truncate(TIPS);
            memory.forget();
        }
        self.news.send_replace(());
    }

    /// Keeps the transactions of `template`, without its coinbase.
    pub fn keep(&self, template: &Template, transactions: Vec<Vec<u8>>) {
        {
            let mut memory = self.memory();
            let transactions = transactions.into_iter().map(|bytes| memory.share(bytes)).collect();
            let list = List { prev_hash: template.prev_hash, transactions: Transactions(transactions) };
            memory.lists.insert(template.id, list);
            memory.forget();
        }
        self.news.send_replace(());
    }

    /// The transactions of a template, when they came.
    pub fn transactions(&self, template: TemplateId) -> Option<Transactions> {
        self.memory().lists.get(&template).map(|list| list.transactions.clone())
    }

    /// Waits for the transactions of a template; for ever when they never come. Cancel safe.
    pub async fn await_transactions(&self, template: TemplateId) -> Transactions {
        let mut news = self.news.subscribe();
        loop {
            if let Some(transactions) = self.transactions(template) {
                return transactions;
            }
            // The sender is ours and lives as long as this borrow.
            let _ = news.changed().await;
        }
    }

    /// Whether `hash` was the tip lately.
    pub fn was_tip(&self, hash: BlockHash) -> bool {
        self.memory().tips.contains(&hash)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// The same bytes, shared with every template that has them.
    fn share(&mut self, bytes: Vec<u8>) -> Arc<[u8]> {
        if let Some(known) = self.pool.get(bytes.as_slice()) {
            return Arc::clone(known);
        }
        let fresh: Arc<[u8]> = bytes.into();
        self.pool.insert(Arc::clone(&fresh));
        fresh
    }

    fn forget(&mut self) {
        let recent: Vec<BlockHash> = self.tips.iter().take(TIPS_WITH_TRANSACTIONS).copied().collect();
        self.lists.retain(|_, list| recent.contains(&list.prev_hash));
        while self.lists.len() > TEMPLATES {
            self.lists.pop_first();
        }
        // What only the pool still holds.
        self.pool.retain(|bytes| Arc::strong_count(bytes) > 1);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::{CompactTarget, TxMerkleNode};
    use poolbox_accounting::Sats;

    use super::*;
    use crate::template::CoinbaseTemplate;

    fn tip(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    fn template(on: u8) -> Template {
        Template {
            id: TemplateId::fresh(),
            version: 0x2000_0000,
            prev_hash: tip(on),
            bits: CompactTarget::from_consensus(0x207f_ffff),
            time: 0,
            height: 1,
            coinbase: CoinbaseTemplate {
                tx_version: 2,
                script_prefix: vec![0x51],
                sequence: 0,
                value: Sats::ZERO,
                outputs: Vec::new(),
                lock_time: 0,
            },
            merkle_path: vec![TxMerkleNode::all_zeros()],
            upstream: None,
        }
    }

    fn bytes(of: u8) -> Vec<u8> {
        vec![of; 100]
    }

    #[test]
    fn templates_share_the_transactions_they_have_in_common() {
        let recall = Recall::new();
        recall.see_tip(tip(1));
        let (first, second) = (template(1), template(1));
        recall.keep(&first, vec![bytes(1), bytes(2)]);
        recall.keep(&second, vec![bytes(3), bytes(2)]);
        let list = |template: &Template| recall.transactions(template.id).unwrap();
        assert!(Arc::ptr_eq(&list(&first).0[1], &list(&second).0[1]));
        assert_eq!(recall.memory().pool.len(), 3);
        assert_eq!(list(&first).len(), 2);
    }

    #[test]
    fn transactions_are_kept_for_the_present_and_the_previous_tip() {
        let recall = Recall::new();
        let old = template(1);
        recall.see_tip(tip(1));
        recall.keep(&old, vec![bytes(1)]);
        recall.see_tip(tip(2));
        recall.see_tip(tip(2));
        assert!(recall.transactions(old.id).is_some());
        recall.see_tip(tip(3));
        assert!(recall.transactions(old.id).is_none());
        assert!(recall.memory().pool.is_empty());
        assert!(recall.was_tip(tip(1)) && !recall.was_tip(tip(9)));
    }

    #[test]
    fn however_many_templates_come_memory_is_bounded() {
        let recall = Recall::new();
        recall.see_tip(tip(1));
        for number in 0..3 * TEMPLATES {
            recall.keep(&template(1), vec![bytes(0), number.to_le_bytes().to_vec()]);
        }
        assert_eq!(recall.memory().lists.len(), TEMPLATES);
        assert_eq!(recall.memory().pool.len(), TEMPLATES + 1);
    }

    #[tokio::test]
    async fn transactions_that_come_later_are_waited_for() {
        let recall = Recall::new();
        recall.see_tip(tip(1));
        let template = template(1);
        let late = async {
            tokio::task::yield_now().await;
            recall.keep(&template, vec![bytes(1)]);
        };
        let (transactions, ()) = tokio::join!(recall.await_transactions(template.id), late);
        assert_eq!(transactions.len(), 1);
    }
}

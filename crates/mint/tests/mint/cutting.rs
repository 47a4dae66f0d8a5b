//! A payment on-chain that is cut off at every row the mint writes for it, and in the moments between:
//! it is made once, or its ecash is given back.

use std::time::{Duration, Instant};

use crate::melting::{ask, balance, melt, received, somewhere};
use crate::rig::faults::{Fault, Faults};
use crate::rig::{Person, Rig};
use cdk::nuts::MeltQuoteState;
use cdk::wallet::Wallet;
use poolbox_accounting::Sats;

/// What each payment is of.
const EACH: u64 = 10_000;
/// Where cdk and cdk-bdk note how far a payment is.
const NOTES: [&str; 3] = ["kv_store", "melt_quote", "saga_state"];
/// More notes than a payment needs.
const MOST_NOTES: u32 = 60;

/// Payments of one wallet, and what must be true of them all.
struct Payments {
    sat: Wallet,
    worth: u64,
    paid: u64,
}

impl Payments {
    /// After a cut: mines until the payment has ended, and looks at every place that tells how. Whether
    /// it was made.
    async fn settle_up(&mut self, rig: &Rig, quote: &str, address: &str, cut: &str) -> bool {
        rig.until(&format!("the melt cut {cut} has ended"), async |rig| {
            rig.node.mine(1);
            tokio::time::sleep(Duration::from_millis(500)).await;
            let state = self.sat.check_melt_quote_status(quote).await.map(|quote| quote.state);
            matches!(state, Ok(MeltQuoteState::Paid | MeltQuoteState::Unpaid))
                && rig.status().await.sats.pending_out == Sats::ZERO
        })
        .await;
        self.sat.recover_incomplete_sagas().await.unwrap();
        let state = self.sat.check_melt_quote_status(quote).await.unwrap().state;
        let made = state == MeltQuoteState::Paid;
        assert_eq!(received(rig, address), if made { (EACH, 1) } else { (0, 0) }, "cut {cut}: {state}");
        self.paid += if made { EACH } else { 0 };
        let sats = rig.status().await.sats;
        let left = balance(&self.sat).await;
        assert_eq!(sats.melted.get(), self.paid, "cut {cut}");
        assert_eq!(left, self.worth - self.paid - sats.fees_paid.get(), "cut {cut}");
        assert_eq!((sats.outstanding.get(), sats.surplus), (left, Sats::ZERO), "cut {cut}");
        assert_eq!(rig.status().await.halted, None, "cut {cut}");
        made
    }
}

async fn payments(rig: &mut Rig) -> Payments {
    let alice = Person::new(1).await;
    let (sat, worth) = rig.sats(&alice).await;
    Payments { sat, worth, paid: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_killed_at_any_note_is_made_once_or_given_back() {
    let mut rig = Rig::new(1).await;
    let mut payments = payments(&mut rig).await;
    let faults = Faults::among(&rig, &NOTES);
    let (mut made, mut given_back) = (0, 0);
    for row in 1..=MOST_NOTES {
        let address = somewhere(100 + i64::from(row));
        let quote = ask(&payments.sat, &address, EACH, 0).await;
        faults.set(row, Fault::Hang);
        let (wallet, id) = (payments.sat.clone(), quote.id.clone());
        let melting = tokio::spawn(async move { melt(&wallet, &id).await });
        let sent = faults.hang_or(async || rig.node.cli(&["getrawmempool", "false"])[0].is_string()).await;
        let finished = sent && {
            rig.node.mine(1);
            let paid = async || {
                let quote = payments.sat.check_melt_quote_status(&quote.id).await;
                quote.is_ok_and(|quote| quote.state == MeltQuoteState::Paid)
            };
            faults.hang_or(paid).await
        };
        rig.kill9();
        melting.abort();
        faults.remove();
        rig.start().await;
        if payments.settle_up(&rig, &quote.id, &address, &format!("at note {row}")).await {
            made += 1;
        } else {
            given_back += 1;
        }
        if finished {
            assert!(given_back > 0 && made > 3, "{given_back} were given back, {made} made");
            return;
        }
    }
    panic!("a payment needs more than {MOST_NOTES} notes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_killed_at_any_moment_is_made_once_or_given_back() {
    let mut rig = Rig::new(1).await;
    let mut payments = payments(&mut rig).await;
    let mut made = 0;
    // The last so late that the payment has got through, however fast the machine is.
    for (n, write) in (0..).zip([0, 3, 6, 12, 24, 1_000]) {
        let address = somewhere(100 + n);
        let quote = ask(&payments.sat, &address, EACH, 0).await;
        let killer = rig.kill9_at_write(write);
        let begun = Instant::now();
        let answer = melt(&payments.sat, &quote.id).await;
        killer.join().unwrap();
        rig.start().await;
        let cut = format!("at write {write}, after {:?}: {answer:?}", begun.elapsed());
        made += u32::from(payments.settle_up(&rig, &quote.id, &address, &cut).await);
    }
    assert!(made > 0, "no payment was ever made");
}

//! Tokens, from the intention to the ecash in them. A token is money that a wallet no longer has: its
//! slip is written down before the wallet gives anything, and again when it is complete, so that no
//! answer and no process that gets lost on the way takes money with it. Who makes a slip keeps it.

use anyhow::{Context, bail, ensure};
use cdk::amount::{Amount, SplitTarget};
use cdk::dhke::construct_proofs;
use cdk::nuts::nut00::ProofsMethods;
use cdk::nuts::{
    BlindSignature, BlindedMessage, CurrencyUnit, PreMintSecrets, Proofs, PublicKey, RestoreRequest,
    SecretKey, SpendingConditions, State, SwapRequest, Token,
};
use cdk::secret::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Pocket;

/// Most proofs that one token is made from.
const INPUTS: usize = 900;

/// A token on its way, or made. Debug output shows none of its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Slip {
    /// Its name.
    pub id: Uuid,
    /// Its unit.
    pub unit: CurrencyUnit,
    /// What it is worth, in its unit.
    pub amount: u64,
    /// Whose signature spends it (NUT-11); none when whoever has it can spend it.
    pub lock: Option<PublicKey>,
    /// When it was begun, Unix seconds.
    pub made_at: u64,
    /// What the wallet gives for it.
    given: Proofs,
    /// What the mint is to sign, when it is locked. Random, so these are nowhere else.
    outputs: Vec<Output>,
    /// What is in the token; empty before [`Pocket::issue`].
    proofs: Proofs,
}

/// One blinded message and what unblinds it.
#[derive(Clone, Serialize, Deserialize)]
struct Output {
    message: BlindedMessage,
    secret: Secret,
    r: SecretKey,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has spent any of it.
    Unspent,
    /// Somebody has begun to spend it, or has spent a part.
    InUse,
    /// It is spent, all of it.
    Spent,
}

impl std::fmt::Debug for Slip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, unit, amount, .. } = self;
        write!(f, "Slip({id}, {amount} {unit}, …)")
    }
}

impl Slip {
    /// Whether it is complete.
    pub const fn is_issued(&self) -> bool {
        !self.proofs.is_empty()
    }

    /// The token as text (V4), of the mint at `url`.
    ///
    /// # Errors
    /// When it is not complete, or `url` is none.
    pub fn token(&self, url: &str) -> anyhow::Result<String> {
        ensure!(self.is_issued(), "token {} is not complete", self.id);
        let url = url.parse().with_context(|| format!("mint URL {url}"))?;
        Ok(Token::new(url, self.proofs.clone(), None, self.unit.clone()).to_string())
    }
}

impl Pocket {
    /// Begins a token of exactly `amount`, in as few proofs as that takes, locked to `lock` if there
    /// is one. Keep the slip, then [`Self::issue`] it; before that nothing has left the wallet.
    ///
    /// # Errors
    /// When the wallet holds less, or the mint does not answer.
    pub async fn begin_token(&self, amount: u64, lock: Option<PublicKey>, now: u64) -> anyhow::Result<Slip> {
        ensure!(amount > 0, "a token of nothing; ask for at least 1");
        self.refresh().await?;
        let parts = self.split(Amount::from(amount)).await?;
        let given = match pick(self.unspent().await?, &parts) {
            Some(given) => given,
            None => {
                let inputs = enough(self.unspent().await?, amount)?;
                self.swap(inputs, parts.clone()).await?;
                pick(self.unspent().await?, &parts).context("the swapped ecash is not in the wallet")?
            }
        };
        let outputs = match lock {
            Some(lock) => self.locked(Amount::from(amount), lock).await?,
            None => Vec::new(),
        };
        let id = Uuid::new_v4();
        let unit = self.wallet().unit.clone();
        Ok(Slip { id, unit, amount, lock, made_at: now, given, outputs, proofs: Proofs::new() })
    }

    async fn locked(&self, amount: Amount, lock: PublicKey) -> anyhow::Result<Vec<Output>> {
        let keyset = self.wallet().active_keyset().await?.id;
        let amounts = self.wallet().get_keyset_fees_and_amounts_by_id(keyset).await?;
        let conditions = SpendingConditions::new_p2pk(lock, None);
        let made =
            PreMintSecrets::with_conditions(keyset, amount, &SplitTarget::None, &conditions, &amounts)?;
        let outputs = made.secrets.into_iter();
        Ok(outputs
            .map(|made| Output { message: made.blinded_message, secret: made.secret, r: made.r })
            .collect())
    }

    /// Makes sure that the wallet does not spend what it gave for a token.
    ///
    /// # Errors
    /// When its database refuses.
    pub async fn set_aside(&self, slip: &Slip) -> anyhow::Result<()> {
        self.mark(&slip.given, State::PendingSpent).await
    }

    /// Completes a token that was begun and kept; keep it once more when it returns. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// When the mint does not answer.
    pub async fn issue(&self, slip: &mut Slip) -> anyhow::Result<()> {
        self.set_aside(slip).await?;
        if slip.is_issued() {
            return Ok(());
        }
        if slip.outputs.is_empty() {
            slip.proofs = bare(slip.given.clone());
            return Ok(());
        }
        let messages: Vec<_> = slip.outputs.iter().map(|output| output.message.clone()).collect();
        let swap = SwapRequest::new(slip.given.clone(), messages.clone());
        let signatures = match self.wallet().mint_connector().post_swap(swap).await {
            Ok(answer) => answer.signatures,
            // The mint may have done it before, when nobody heard the answer.
            Err(error) => match self.signed_before(messages).await {
                Some(signatures) => signatures,
                None => return Err(error).context("lock the token at the mint"),
            },
        };
        let keyset = slip.outputs.first().map(|output| output.message.keyset_id).context("no outputs")?;
        let keys = self.wallet().keyset(keyset).await.context("ask the mint for its keys")?.keys;
        let rs = slip.outputs.iter().map(|output| output.r.clone()).collect();
        let secrets = slip.outputs.iter().map(|output| output.secret.clone()).collect();
        slip.proofs = bare(construct_proofs(signatures, rs, secrets, &keys).context("unblind the token")?);
        self.mark(&slip.given, State::Spent).await
    }

    /// The signatures of all of these, if the mint gave them earlier (NUT-09).
    async fn signed_before(&self, messages: Vec<BlindedMessage>) -> Option<Vec<BlindSignature>> {
        let request = RestoreRequest { outputs: messages.clone() };
        let answer = self.wallet().mint_connector().post_restore(request).await.ok()?;
        let signed = |message: &BlindedMessage| {
            let at =
                answer.outputs.iter().position(|output| output.blinded_secret == message.blinded_secret)?;
            answer.signatures.get(at).cloned()
        };
        messages.iter().map(signed).collect()
    }

    /// What became of a token, says the mint. One that is not complete is nobody's to spend, even when
    /// what was given for it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn standing(&self, slip: &Slip) -> anyhow::Result<Standing> {
        if !slip.is_issued() {
            return Ok(Standing::Unspent);
        }
        let states = self.wallet().check_proofs_spent(slip.proofs.clone()).await;
        let states = states.context("ask the mint whether the token is spent")?;
        let all = |wanted| states.iter().all(|state| state.state == wanted);
        Ok(match (all(State::Unspent), all(State::Spent)) {
            (true, _) => Standing::Unspent,
            (_, true) => Standing::Spent,
            _ => Standing::InUse,
        })
    }

    /// Takes a token back that nobody has spent: the wallet has its ecash again, and the text is
    /// worth nothing. Gives the amount.
    ///
    /// # Errors
    /// When it is spent, or locked to somebody's key, or the mint does not answer.
    pub async fn take_back(&self, slip: &Slip) -> anyhow::Result<u64> {
        if let Some(lock) = slip.lock.filter(|_| slip.is_issued()) {
            bail!("the token is locked to {lock}; only who has that key can spend it");
        }
        ensure!(self.standing(slip).await? == Standing::Unspent, "somebody spends the token, or has");
        self.refresh().await?;
        // Begun and not locked yet: only the wallet knows the ecash, and it is simply free again.
        self.mark(&slip.given, State::Unspent).await?;
        if slip.is_issued() {
            let amounts = self.split(Amount::from(slip.amount)).await?;
            if let Err(error) = self.swap(slip.given.clone(), amounts).await {
                // Somebody was faster, or nobody knows: what is not spent is still the token's.
                self.set_aside(slip).await?;
                self.believe_the_mint(slip.given.clone()).await?;
                return Err(error);
            }
        }
        Ok(slip.amount)
    }
}

/// One proof for each of `parts`, if there are such.
fn pick(mut proofs: Proofs, parts: &[Amount]) -> Option<Proofs> {
    let mut picked = Proofs::new();
    for part in parts {
        let at = proofs.iter().position(|proof| proof.amount == *part)?;
        picked.push(proofs.swap_remove(at));
    }
    Some(picked)
}

/// Proofs worth `amount` or more, the largest first.
fn enough(mut proofs: Proofs, amount: u64) -> anyhow::Result<Proofs> {
    let have = proofs.total_amount()?.to_u64();
    ensure!(have >= amount, "the wallet holds {have}, and {amount} were asked for");
    proofs.sort_by_key(|proof| std::cmp::Reverse(proof.amount));
    let mut sum = 0;
    let several = proofs.iter().position(|proof| {
        sum += proof.amount.to_u64();
        sum >= amount
    });
    proofs.truncate(several.map_or(0, |last| last + 1));
    ensure!(proofs.len() <= INPUTS, "the ecash is in too many pieces for one token; ask for less at once");
    Ok(proofs)
}

/// Without the proofs that the mint's signatures are good (NUT-12): half of a token's length, and
/// whoever takes it in asks the mint anyway.
fn bare(mut proofs: Proofs) -> Proofs {
    proofs.iter_mut().for_each(|proof| proof.dleq = None);
    proofs
}

// A wallet on cashu-ts that does what it is told: one JSON object a line on standard input, one answer a
// line on standard output. It keeps its ecash in memory. Run by the tests of crates/mint.

import { webcrypto } from 'node:crypto';
import { createInterface } from 'node:readline';

// Not global before Node 20.
globalThis.crypto ??= webcrypto;

const { Wallet, getEncodedToken, getPubKeyFromPrivKey } = await import('@cashu/cashu-ts');
const { URDecoder } = await import('@ngraveio/bc-ur');

const secret = Buffer.from(webcrypto.getRandomValues(new Uint8Array(32)));
const privkey = secret.toString('hex');
const pubkey = Buffer.from(getPubKeyFromPrivKey(secret)).toString('hex');

/** One wallet for each base URL and unit. */
const wallets = new Map();

async function wallet({ url, unit }) {
  const name = `${url} ${unit}`;
  if (!wallets.has(name)) {
    const made = new Wallet(url, { unit });
    await made.loadMint();
    wallets.set(name, { of: made, proofs: [] });
  }
  return wallets.get(name);
}

const number = (amount) => Number((amount ?? 0).toString());
const sum = (proofs) => proofs.reduce((total, proof) => total + number(proof.amount), 0);

const does = {
  /** The key that quotes and tokens for this wallet are locked to. */
  async key() {
    return { pubkey };
  },

  /** Mints `amount` of a quote that is locked to the key. */
  async mint(order) {
    const held = await wallet(order);
    const proofs = await held.of.mintProofs(order.method, order.amount, { quote: order.quote }, { privkey });
    held.proofs.push(...proofs);
    return { balance: sum(held.proofs) };
  },

  /** A quote locked to the key, for ehash to be redeemed into. */
  async quote(order) {
    const held = await wallet(order);
    const { quote } = await held.of.createMintQuote(order.method, { amount: 1, pubkey });
    return { quote };
  },

  /** How much was paid to a quote. */
  async paid(order) {
    const held = await wallet(order);
    const state = await held.of.checkMintQuote(order.method, order.quote);
    return { paid: number(state.amount_paid) };
  },

  /** Melts `amount`: redeems ehash, or pays sats out. */
  async melt(order) {
    const held = await wallet(order);
    const { method, request, amount } = order;
    const quote = await held.of.createMeltQuote(method, { method, request, amount });
    const { keep, send } = await held.of.send(number(quote.amount) + number(quote.fee_reserve), held.proofs);
    const done = await held.of.meltProofs(method, quote, send);
    held.proofs = [...keep, ...(done.change ?? [])];
    return { state: done.quote.state, balance: sum(held.proofs) };
  },

  /** Pays sats to a bitcoin address (NUT-30). */
  async pay_onchain(order) {
    const held = await wallet(order);
    const quote = await held.of.createMeltQuoteOnchain(order.request, order.amount);
    const option = quote.fee_options[0];
    const { keep, send } = await held.of.send(number(quote.amount) + number(option.fee_reserve), held.proofs);
    const done = await held.of.ops.meltOnchain(quote, send).feeIndex(option.fee_index).run();
    held.proofs = [...keep, ...(done.change ?? [])];
    return { quote: quote.quote, state: done.quote.state, balance: sum(held.proofs) };
  },

  /** How far such a payment is. */
  async paying(order) {
    const held = await wallet(order);
    const { state } = await held.of.checkMeltQuoteOnchain(order.quote);
    return { state };
  },

  /** Makes a token. */
  async send(order) {
    const held = await wallet(order);
    const { keep, send } = await held.of.send(order.amount, held.proofs);
    held.proofs = keep;
    return { token: getEncodedToken({ mint: order.url, unit: order.unit, proofs: send }), balance: sum(keep) };
  },

  /** Takes a token in; with the key if `locked`. */
  async receive(order) {
    const held = await wallet(order);
    const proofs = await held.of.receive(order.token, order.locked ? { privkey } : {});
    held.proofs.push(...proofs);
    return { amount: sum(proofs), balance: sum(held.proofs) };
  },

  /** Puts an animated QR code together, as wallets on phones do it. */
  async reassemble({ fragments }) {
    const decoder = new URDecoder();
    for (const fragment of fragments) {
      decoder.receivePart(fragment);
    }
    if (!decoder.isComplete() || !decoder.isSuccess()) {
      throw new Error('the fragments give no whole message');
    }
    const ur = decoder.resultUR();
    return { type: ur.type, token: ur.decodeCBOR().toString() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    console.log(JSON.stringify(await does[order.do](order)));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.message ?? error}` }));
  }
}

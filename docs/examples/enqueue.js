#!/usr/bin/env node
/* What a shop tells reconciled, with reconctl: sessions, sales it knows, and orders of unknown
 * outcome. Node.js 18 or newer, no packages. The user that runs this is in the group
 * reconciled-queue and may read the ledger.
 *
 *   enqueue.js session SESSION ORDER                     the session's key on standard input
 *   enqueue.js paid ORDER TRANSACTION SESSION            cardSale answered 2xx
 *   enqueue.js unknown ORDER AMOUNT LAST_FOUR SESSION   cardSale: 5xx, network error, timeout */
'use strict';
const { execFile } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');

const RECONCTL = process.env.RECONCTL || 'reconctl';
const CONFIG = process.env.RECONCILED_CONFIG; // unset: /etc/reconciled/reconciled.conf

/* No shell is between: arguments need no quoting. `input` goes to standard input, where a session's
 * key belongs; an argument list is there for every process of the machine to see. */
function reconctl(args, input = '') {
  return new Promise((resolve, reject) => {
    const all = CONFIG ? ['--config', CONFIG, ...args] : args;
    const child = execFile(RECONCTL, all, (error, stdout, stderr) => {
      // Exit 1 is an answer ("no", "not yet"). Anything else is a failure.
      if (error && error.code !== 1) reject(new Error(stderr.trim() || error.message));
      else resolve({ yes: !error, stdout });
    });
    child.stdin.on('error', () => {}); // it may end before it has read
    child.stdin.end(input);
  });
}

const addSession = (session, key, order) =>
  reconctl(['session', 'add', session, '--expires-in', '1800', '--order', order], `${key}\n`);

/* how: paid, cancelled or abandoned. The Vault is asked to revoke the key at once. */
const endSession = (session, how) => reconctl(['session', 'end', session, how]);

const claim = (order, transaction) => reconctl(['claim', transaction, order]);

/* Call it at once when cardSale has failed: the attempt's time is left out, so it is now. When it
 * resolves, the order is safely in the queue. (The customer's e-mail would be one more thing to
 * tell two sales apart by. It is left out here because it would stand in the process list; by SQL,
 * as in enqueue.py, it does not.) */
const enqueue = (order, amount, lastFour, session) =>
  reconctl(['enqueue', order, '--amount', amount, '--currency', 'USD', '--last-four', lastFour,
    '--session', session]);

/* The order's row of order_status, or undefined while nothing can be said. A verdict from before
 * the latest attempt is never given. Absence is not said before [match] absence_grace (15
 * minutes): wait in a job, not in a web request. */
async function waitForVerdict(order, timeout) {
  const answer = await reconctl(['wait', order, '--timeout', timeout, '--format', 'json']);
  return JSON.parse(answer.stdout).find((row) => row.verdict !== 'pending');
}

/* The leave to charge again: exactly one caller gets it, however many ask. The daemon offers it a
 * moment after the verdict. */
async function takePermit(order) {
  for (let i = 0; i < 10; i++) {
    if ((await reconctl(['permit', order])).yes) return true;
    await sleep(200);
  }
  return false;
}

/* What to do. Nothing but safe_to_retry = 1, and the permit, is leave to charge again. */
async function act(order, row) {
  if (!row) return `${order}: pending: keep the order, ask again later`;
  if (row.verdict === 'charged')
    return `${order}: charged: deliver; the sale is ${row.transaction_id}`;
  if (row.verdict === 'double_charged')
    return `${order}: double_charged: deliver, and refund all but one sale: ${row.reason}`;
  if (row.safe_to_retry === 1 && (await takePermit(order)))
    return `${order}: ${row.verdict}: charge it again, once`;
  if (row.safe_to_retry === 1)
    return `${order}: ${row.verdict}: leave it, another process charges it again`;
  return `${order}: needs_review: a person decides: ${row.reason}`;
}

async function readLine() {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  return text.split('\n')[0].trim();
}

async function main(what, ...args) {
  if (what === 'session' && args.length === 2) {
    await addSession(args[0], await readLine(), args[1]);
  } else if (what === 'paid' && args.length === 3) {
    const [order, transaction, session] = args;
    await claim(order, transaction);
    await endSession(session, 'paid');
  } else if (what === 'unknown' && args.length === 4) {
    const [order, amount, lastFour, session] = args;
    await enqueue(order, amount, lastFour, session);
    await endSession(session, 'abandoned'); // nobody pays with it any more
    console.log(await act(order, await waitForVerdict(order, '20min')));
  } else {
    throw new Error('usage: enqueue.js session|paid|unknown ARGUMENT...');
  }
}

module.exports = { addSession, endSession, claim, enqueue, waitForVerdict, takePermit, act };
if (require.main === module)
  main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });

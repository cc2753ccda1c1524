"""Section 6 of the contract through the real daemon: every rule and every verdict, as the orders of
an app and the records of the API lead to them in one cycle or several."""
import contextlib
import json
import sqlite3
import unittest

from harness import Case, after, ago, iso, now, record, sale_for, wait_until

ATTEMPT = {"minutes": 50}  # ago: the order's window lies in the past, and its grace is over


class VerdictCase(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.at = ago(**ATTEMPT)

    def shop(self, sync=None, pay=None, **match):
        """A shop that reads three hours of history; `match` is its section of that name."""
        return self.open_shop(self.sandbox, sync={"backfill": "3h", **(sync or {})},
                              pay={"rate_per_minute": 100000, "retries": 0, **(pay or {})},
                              match=match)

    def settle(self, shop, code=0):
        """One cycle; returns what it said."""
        done = shop.once()
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def expect(self, shop, order, verdict, rule=None, sale=None, reason="."):
        row = shop.verdict(order)
        self.assertIsNotNone(row, f"{order} is not in order_status")
        self.assertEqual((row["verdict"], row["rule"], row["transaction_id"]),
                         (verdict, rule, sale and sale["transactionId"]), row)
        self.assertEqual(row["safe_to_retry"], int(verdict in ("reversed", "not_charged")), row)
        self.assertRegex(row["reason"], reason)
        return row

    def history(self, shop, order):
        return [row["verdict"] for row in shop.ledger(
            "SELECT verdict FROM verdicts WHERE order_id = ? ORDER BY revision", (order,))]

    def alone(self, order, sale, verdict="charged", rule=None, code=0, **match):
        """What becomes of one order of 49.00 USD, told only of what `order` says, beside a sale."""
        shop = self.shop(**match)
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, **order)
        self.settle(shop, code)
        return self.expect(shop, "o", verdict, rule, sale if rule and verdict != "not_charged"
                           else None)

    def sale(self, order=None, minutes=1, **members):
        """A sale so long after the attempt; it carries an order's id if one is given."""
        at = after(self.at, minutes=minutes)
        return sale_for(order, at, **members) if order else record(at, **members)

    def undo(self, kind, sale, **members):
        """A record about a sale: a void, a reversal, a return."""
        return record(after(self.at, minutes=20), transactionType=kind,
                      originalTransactionId=sale["transactionId"], **members)


class Claims(VerdictCase):
    def test_claim_needs_no_other_evidence(self):
        shop = self.shop()
        sale = self.sale(amount="51.00", cardLastFour="9999")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        shop.claim(sale["transactionId"], "o")
        self.settle(shop)
        self.expect(shop, "o", "charged", "claim", sale, reason="51.00")

    def test_claim_is_believed_before_its_record_shows(self):
        shop = self.shop()
        sale = self.sale()
        shop.enqueue("o", attempted_at=self.at)
        shop.claim(sale["transactionId"], "o")
        self.settle(shop)
        self.expect(shop, "o", "charged", "claim", sale, reason="no record of it yet")
        self.sandbox.add(sale)
        said = self.settle(shop)
        self.expect(shop, "o", "charged", "claim", sale)
        self.assertNotIn("critical", said)
        self.assertEqual(set(self.history(shop, "o")), {"charged"})

    def test_claim_takes_a_sale_from_every_other_order(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        shop.claim(sale["transactionId"], "an order that was answered 2xx")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")

    def test_claim_that_comes_later_takes_the_sale_away(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "charged", "identity", sale)
        shop.claim(sale["transactionId"], "other")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        self.assertEqual(self.history(shop, "o"), ["charged", "not_charged"])

    def test_claim_overturns_not_charged_and_that_is_critical(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        sale = self.sale()
        shop.claim(sale["transactionId"], "o")
        said = self.settle(shop)
        self.expect(shop, "o", "charged", "claim", sale)
        self.assertRegex(said, r"(?m)^critical: .*\bo\b.*not_charged")

    def test_claim_of_what_is_no_settled_sale_is_for_a_person(self):
        shop = self.shop()
        sale = self.sale(status="declined")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        shop.claim(sale["transactionId"], "o")
        self.settle(shop)
        self.expect(shop, "o", "needs_review", reason=sale["transactionId"])

    def test_sale_claimed_for_two_orders_is_for_a_person(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        for order in "ab":
            shop.enqueue(order, attempted_at=self.at)
            shop.claim(sale["transactionId"], order)
            self.settle(shop)
        for order, other in ("ab", "ba"):
            self.expect(shop, order, "needs_review", reason=f"order {other}")


class References(VerdictCase):
    def test_reference_decides_without_card_or_email(self):
        self.alone({}, self.sale("o"), rule="reference")

    def test_every_default_place_of_the_reference(self):
        places = ({"metadata": {"orderId": "o1"}}, {"metadata": {"order_id": "o2"}},
                  {"orderId": "o3"})
        sales = [self.sale(**place) for place in places]
        shop = self.shop()
        self.sandbox.add(*sales)
        for i in (1, 2, 3):
            shop.enqueue(f"o{i}", attempted_at=self.at)
        self.settle(shop)
        for i, sale in enumerate(sales, 1):
            self.expect(shop, f"o{i}", "charged", "reference", sale)

    def test_place_of_the_reference_is_configurable(self):
        self.alone({}, self.sale(merchant={"a/b": "o"}), rule="reference",
                   order_ref="/merchant/a~1b")

    def test_window_of_a_reference_is_wider(self):
        shop = self.shop(late_watch="70min")
        early, late = self.sale("early", -60), self.sale("late", 45)
        # The same without a reference is outside the window.
        strays = [self.sale(minutes=minutes, amount="8.00") for minutes in (-60, 45)]
        self.sandbox.add(early, late, *strays)
        for order in ("early", "late"):
            shop.enqueue(order, attempted_at=self.at)
        shop.enqueue("plain", "8.00", self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "early", "charged", "reference", early)
        self.expect(shop, "late", "charged", "reference", late)
        self.expect(shop, "plain", "not_charged", "absence")

    def test_reference_beyond_late_watch_is_for_a_person(self):
        sale = self.sale("o", 45)
        shop = self.shop(late_watch="40min")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "needs_review", reason=sale["transactionId"])

    def test_sale_with_another_orders_id_is_never_eligible(self):
        self.alone({"card_last_four": "4242", "card_bin": "424242",
                    "billing_email": "jane@example.com"}, self.sale("another"),
                   "not_charged", "absence")

    def test_reference_that_disagrees_is_for_a_person(self):
        wrong = {"amount": ({"amount": "49.01"}, "49.01 USD"),
                 "currency": ({"currency": "EUR"}, "49.00 EUR"),
                 "last four": ({"cardLastFour": "1111"}, "last four"),
                 "BIN": ({"cardBin": "411111"}, "BIN"),
                 "brand": ({"cardBrand": "Amex"}, "brand"),
                 "e-mail": ({"email": "john@example.com"}, "e-mail")}
        shop = self.shop()
        for name, (members, _) in wrong.items():
            self.sandbox.add(self.sale(name, **members))
            shop.enqueue(name, attempted_at=self.at, card_last_four="4242", card_bin="424242",
                         card_brand="Visa", billing_email="jane@example.com")
        self.settle(shop)
        for name, (_, why) in wrong.items():
            with self.subTest(name):
                self.expect(shop, name, "needs_review", reason=why)
        self.assertEqual({row["order_id"] for row in shop.ledger("SELECT * FROM review_queue")},
                         set(wrong))

    def test_doubt_is_not_said_before_the_grace_is_over(self):
        shop = self.shop()
        self.at = ago(minutes=5)
        self.sandbox.add(self.sale("o", amount="49.01"))
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "pending")


class Identity(VerdictCase):
    def test_last_four_alone(self):
        self.alone({"card_last_four": "4242"}, self.sale(cardBin=None, email=None),
                   rule="identity")

    def test_bin_alone(self):
        self.alone({"card_bin": "424242"}, self.sale(cardLastFour=None, email=None),
                   rule="identity")

    def test_longer_bin_says_the_same_and_more(self):
        self.alone({"card_bin": "42424299"}, self.sale(cardLastFour=None, email=None),
                   rule="identity")

    def test_email_alone_in_any_case(self):
        self.alone({"billing_email": "JANE@Example.COM"},
                   self.sale(cardLastFour=None, cardBin=None), rule="identity")

    def test_brand_in_another_case_contradicts_nothing(self):
        self.alone({"card_last_four": "4242", "card_brand": "VISA"}, self.sale(cardBrand="visa"),
                   rule="identity")

    def test_brand_alone_is_no_identity(self):
        self.alone({"card_brand": "Visa"}, self.sale(cardLastFour=None, cardBin=None, email=None),
                   "needs_review")

    def test_one_thing_that_differs_outweighs_all_that_agree(self):
        card = {"card_last_four": "4242", "card_brand": "Visa", "card_bin": "424242",
                "billing_email": "jane@example.com"}
        other = {"card_last_four": "4243", "card_brand": "Mastercard", "card_bin": "424243",
                 "billing_email": "jane@example.org"}
        shop = self.shop()
        for i, name in enumerate(card, 1):
            self.sandbox.add(self.sale(amount=f"{i}.00"))
            shop.enqueue(name, f"{i}.00", self.at, **{**card, name: other[name]})
        self.sandbox.add(self.sale(amount="9.00"))
        shop.enqueue("agrees", "9.00", self.at, **card)
        self.settle(shop)
        for name in card:
            with self.subTest(name):
                self.expect(shop, name, "not_charged", "absence")
        self.assertEqual(shop.verdict("agrees")["verdict"], "charged")

    def test_amount_and_currency_have_to_agree(self):
        shop = self.shop()
        self.sandbox.add(self.sale(amount="49.01"), self.sale(currency="EUR"))
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")

    def test_both_ends_of_the_window(self):
        self.at = self.at.replace(microsecond=500000)
        shop = self.shop(before="120s", after="900s")
        sales = {}
        for i, (order, ms) in enumerate({"first": -120000, "too early": -120001,
                                         "last": 900000, "too late": 900001}.items(), 1):
            sales[order] = record(after(self.at, milliseconds=ms), amount=f"{i}.00")
            shop.enqueue(order, f"{i}.00", self.at, card_last_four="4242")
        self.sandbox.add(*sales.values())
        self.settle(shop)
        for order in ("first", "last"):
            self.expect(shop, order, "charged", "identity", sales[order])
        for order in ("too early", "too late"):
            self.expect(shop, order, "not_charged", "absence")

    def test_empty_texts_are_not_compared(self):
        empty = dict.fromkeys(("card_last_four", "card_brand", "card_bin", "billing_email",
                               "session_id"), "")
        shop = self.shop()
        sales = [self.sale(amount="1.00"),
                 self.sale(amount="2.00", cardLastFour="", cardBin="", cardBrand="",
                           metadata={"orderId": ""}, originalTransactionId="")]
        self.sandbox.add(*sales)
        shop.enqueue("order says nothing", "1.00", self.at, **empty)
        shop.enqueue("record says little", "2.00", self.at, card_last_four="9999",
                     card_bin="999999", card_brand="Amex", billing_email="jane@example.com")
        self.settle(shop)
        self.expect(shop, "order says nothing", "needs_review", reason="amount")
        self.expect(shop, "record says little", "charged", "identity", sales[1])
        stored = shop.ledger("SELECT card_last_four, card_bin, card_brand, order_ref,"
                             " original_transaction_id FROM transactions WHERE transaction_id = ?",
                             (sales[1]["transactionId"],))[0]
        self.assertEqual(set(stored.values()), {None})


class AmountOnly(VerdictCase):
    bare = {"cardLastFour": None, "cardBin": None, "cardBrand": None, "email": None}

    def test_is_for_a_person(self):
        row = self.alone({"card_last_four": "4242"}, self.sale(**self.bare), "needs_review")
        self.assertRegex(row["reason"], "amount and time")

    def test_decides_when_that_is_accepted(self):
        self.alone({"card_last_four": "4242"}, self.sale(**self.bare), rule="amount",
                   accept_amount_only="yes")

    def test_is_held_until_the_grace_is_over(self):
        self.at = ago(minutes=5)
        self.alone({}, self.sale(), "pending")


class Money(VerdictCase):
    def test_surcharge_tip_and_tax_are_taken_off(self):
        shop = self.shop()
        extras = {"as it is": ("49.00", {}),
                  "surcharge": ("50.47", {"surchargeAmount": "1.47"}),
                  "tip": ("59.00", {"tipAmount": "10.00"}),
                  "tax": ("53.00", {"salesTaxAmount": 4}),
                  "all": ("64.47", {"surchargeAmount": "1.47", "tipAmount": "10.00",
                                    "salesTaxAmount": "4.00"}),
                  "amount includes it": ("49.00", {"tipAmount": "10.00"})}
        sales = {order: self.sale(order, amount=amount, **members)
                 for order, (amount, members) in extras.items()}
        self.sandbox.add(*sales.values(), self.sale("wrong", amount="59.00", tipAmount="9.99"))
        for order in (*extras, "wrong"):
            shop.enqueue(order, attempted_at=self.at)
        self.settle(shop)
        for order, sale in sales.items():
            with self.subTest(order):
                self.expect(shop, order, "charged", "reference", sale)
        self.expect(shop, "wrong", "needs_review", reason="amount")

    def test_currencies_with_other_minor_units(self):
        shop = self.shop()
        amounts = {"JPY": ("4900", "4900", 4900), "BHD": ("1.25", "1.250", 1250),
                   "KWD": ("0.001", "0.001", 1), "KRW": ("1000.00", "1000", 1000)}
        for currency, (asked, listed, _) in amounts.items():
            self.sandbox.add(self.sale(currency, amount=listed, currency=currency))
            shop.enqueue(currency, asked, self.at, currency=currency)
        # A yen has no hundredths.
        self.sandbox.add(self.sale(amount="5100", currency="JPY"))
        shop.enqueue("51 yen", "51", self.at, currency="JPY", card_last_four="4242")
        self.settle(shop)
        for currency, (_, _, minor) in amounts.items():
            with self.subTest(currency):
                self.assertEqual(self.expect(shop, currency, "charged", "reference",
                                             self.find(shop, currency))["amount_minor"], minor)
        self.expect(shop, "51 yen", "not_charged", "absence")

    @staticmethod
    def find(shop, order):
        return {"transactionId": shop.ledger(
            "SELECT transaction_id FROM transactions WHERE order_ref = ?", (order,))[0]
            ["transaction_id"]}

    def test_amount_as_a_json_number_is_exact(self):
        sales = [{**self.sale(f"o{i}"), "amount": amount}
                 for i, amount in enumerate((0.1, 1.15, 4.35, 1109.05, 49))]
        shop = self.shop()
        for sale in sales:
            self.sandbox.add_raw(json.dumps(sale), created_at=sale["createdAt"])
        for i, sale in enumerate(sales):
            shop.enqueue(f"o{i}", f"{sale['amount']:.2f}", self.at)
        self.settle(shop)
        for i, sale in enumerate(sales):
            self.expect(shop, f"o{i}", "charged", "reference", sale)


class Several(VerdictCase):
    def test_one_sale_for_two_orders_is_contested(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        for order in "ab":
            shop.enqueue(order, attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        for order in "ab":
            self.expect(shop, order, "needs_review", reason="(?i)contested")
        rows = shop.ledger("SELECT * FROM review_queue ORDER BY order_id")
        self.assertEqual([row["order_id"] for row in rows], ["a", "b"])
        for row in rows:
            self.assertIn(sale["transactionId"], row["candidates"])

    def test_two_orders_and_two_sales_go_by_time(self):
        shop = self.shop()
        late, early = self.sale(minutes=3), self.sale(minutes=1)
        self.sandbox.add(late, early)
        shop.enqueue("b", attempted_at=after(self.at, minutes=2), card_last_four="4242")
        shop.enqueue("a", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "a", "charged", "identity", early)
        self.expect(shop, "b", "charged", "identity", late)

    def test_every_assignment_counts_not_the_greedy_one(self):
        # s1 fits a and b, s2 fits b only: a must have s1, although b came first and s1 is nearer.
        shop = self.shop()
        s1 = self.sale(minutes=0)
        s2 = self.sale(minutes=10, cardLastFour="1111", cardBin=None, email="b@example.com")
        self.sandbox.add(s1, s2)
        shop.enqueue("b", attempted_at=self.at)
        shop.enqueue("a", attempted_at=after(self.at, seconds=30), card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "a", "charged", "identity", s1)
        self.expect(shop, "b", "needs_review", reason=s2["transactionId"])

    def test_two_sales_for_three_orders_leave_somebody_out(self):
        shop = self.shop()
        self.sandbox.add(self.sale(minutes=1), self.sale(minutes=2))
        for order in "abc":
            shop.enqueue(order, attempted_at=self.at, card_last_four="4242")
        shop.enqueue("apart", "5.00", self.at, card_last_four="4242")
        self.settle(shop)
        for order in "abc":
            self.expect(shop, order, "needs_review", reason="(?i)contested")
        self.expect(shop, "apart", "not_charged", "absence")


class DoubleCharges(VerdictCase):
    def both(self, shop, sales, verdict, rule):
        row = shop.verdict("o")
        self.assertEqual((row["verdict"], row["rule"], row["safe_to_retry"]), (verdict, rule, 0),
                         row)
        listed = shop.ledger("SELECT * FROM double_charges")
        ids = [sale["transactionId"] for sale in sales]
        if verdict == "double_charged":
            self.assertEqual([one["order_id"] for one in listed], ["o"])
            self.assertEqual(listed[0]["transaction_ids"].split(", "), ids)
            self.assertIn(row["transaction_id"], ids)
        else:
            self.assertEqual(listed, [])
            for one in ids:
                self.assertIn(one, row["reason"])

    def test_by_reference(self):
        shop = self.shop()
        sales = [self.sale("o", 1), self.sale("o", 2), self.sale("o", 3)]
        self.sandbox.add(*sales)
        shop.enqueue("o", attempted_at=self.at)
        said = self.settle(shop)
        self.both(shop, sales, "double_charged", "reference")
        self.assertRegex(said, r"(?m)^warning: .*\bo\b.*double_charged")

    def identical(self, **match):
        shop = self.shop(**match)
        sales = [self.sale(minutes=1), self.sale(minutes=2)]
        self.sandbox.add(*sales)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        return shop, sales

    def test_by_identity_when_every_sale_is_claimed(self):
        shop, sales = self.identical(claims="complete")
        self.both(shop, sales, "double_charged", "identity")

    def test_by_identity_otherwise_for_a_person(self):
        shop, sales = self.identical(claims="partial")
        self.both(shop, sales, "needs_review", None)

    def test_one_of_two_that_was_voided_leaves_a_charge(self):
        shop = self.shop()
        kept, voided = self.sale("o", 1), self.sale("o", 2)
        self.sandbox.add(kept, voided, self.undo("CreditCardVoid", voided))
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "charged", "reference", kept)


class Reversals(VerdictCase):
    def reverse(self, verdict, *undoing, reason="."):
        """The verdict on a sale by identity with these records about it."""
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale, *(self.undo(kind, sale, **members) for kind, members in undoing))
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", verdict, "identity", sale, reason)
        return shop, sale

    def test_void(self):
        self.reverse("reversed", ("CreditCardVoid", {}), reason="voided")

    def test_reversal(self):
        self.reverse("reversed", ("CreditCardReversal", {}), reason="49.00")

    def test_return_in_full(self):
        self.reverse("reversed", ("CreditCardReturn", {}), reason="49.00")

    def test_return_in_full_by_parts(self):
        self.reverse("reversed", ("CreditCardReturn", {"amount": "40.00"}),
                     ("CreditCardReturn", {"amount": "9.00"}))

    def test_return_with_a_minus_sign(self):
        self.reverse("reversed", ("CreditCardReturn", {"amount": "-49.00"}))

    def test_return_in_part_stays_charged(self):
        self.reverse("charged", ("CreditCardReturn", {"amount": "10.00"}),
                     ("CreditCardReturn", {"amount": "5.50"}), reason="15.50 USD")

    def test_unsettled_return_returns_nothing(self):
        self.reverse("charged", ("CreditCardReturn", {"status": "Failed"}),
                     ("CreditCardVoid", {"transactionStatus": "PENDING"}))

    def test_sale_is_named_by_parent(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale, record(after(self.at, minutes=9), transactionType="CreditCardVoid",
                                      parentTransactionId=sale["transactionId"]))
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "reversed", "identity", sale)

    def test_void_that_comes_later_revises_the_verdict(self):
        shop, sale = self.reverse("charged")
        self.sandbox.add(self.undo("CreditCardVoid", sale))
        said = self.settle(shop)
        self.expect(shop, "o", "reversed", "identity", sale)
        self.assertNotIn("critical", said)
        self.assertEqual(self.history(shop, "o"), ["charged", "reversed"])

    def test_void_that_failed_after_all_is_critical(self):
        shop = self.shop()
        sale = self.sale()
        void = self.undo("CreditCardVoid", sale)
        self.sandbox.add(sale, void)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "reversed", "identity", sale)
        self.sandbox.remove(void["transactionId"])
        self.sandbox.add({**void, "status": "failed"})
        said = self.settle(shop)
        self.expect(shop, "o", "charged", "identity", sale)
        self.assertRegex(said, r"(?m)^critical: .*\bo\b.*reversed")


class Unsettled(VerdictCase):
    def test_statuses_in_either_member_and_any_case(self):
        shop = self.shop()
        statuses = ("pending", "DECLINED", "Failed", "eRRor")
        sales = {f"{member} {status}": self.sale(f"{member} {status}", status=None)
                 | {member: status}
                 for member in ("status", "transactionStatus") for status in statuses}
        settled = self.sale("settled", status="Approved", transactionStatus="settled")
        self.sandbox.add(*sales.values(), settled)
        for order in (*sales, "settled"):
            shop.enqueue(order, attempted_at=self.at)
        self.settle(shop)
        for order in sales:
            with self.subTest(order):
                self.expect(shop, order, "not_charged", "absence")
        self.expect(shop, "settled", "charged", "reference", settled)
        self.assertEqual(len(shop.ledger("SELECT * FROM transactions")), len(sales) + 1)

    def test_list_is_configurable_and_a_change_counts_for_what_is_stored(self):
        shop = self.shop(unsettled="frozen")
        frozen, declined = self.sale("o", status="Frozen"), self.sale("d", status="declined")
        self.sandbox.add(frozen, declined)
        for order in "od":
            shop.enqueue(order, attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        self.expect(shop, "d", "charged", "reference", declined)
        self.sandbox.remove()  # what the ledger holds is judged anew, not what the API shows
        shop.config(sync={"backfill": "3h"}, match={"unsettled": "declined"})
        shop.once()
        self.expect(shop, "o", "charged", "reference", frozen)
        self.expect(shop, "d", "not_charged", "absence")

    def test_sale_that_settles_later_is_a_late_record(self):
        shop = self.shop()
        sale = self.sale("o", status="pending")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        self.sandbox.remove()
        sale["status"] = "approved"
        self.sandbox.add(sale)
        said = self.settle(shop)
        self.expect(shop, "o", "charged", "reference", sale)
        self.assertRegex(said, r"(?m)^critical: ")

    def test_other_types_are_stored_and_are_no_sale(self):
        shop = self.shop()
        types = ("CreditCardVoid", "CreditCardReturn", "CreditCardReversal", "AchSale",
                 "CryptoSale", "SomethingNew")
        self.sandbox.add(*(self.sale(kind, transactionType=kind) for kind in types))
        for kind in types:
            shop.enqueue(kind, attempted_at=self.at)
        self.settle(shop)
        for kind in types:
            with self.subTest(kind):
                self.expect(shop, kind, "not_charged", "absence")
        self.assertEqual({row["type"] for row in shop.ledger("SELECT type FROM transactions")},
                         set(types))


class Quarantine(VerdictCase):
    def test_record_in_the_way_is_for_a_person_until_it_can_be_read(self):
        shop = self.shop()
        broken = self.sale(amount="forty-nine", metadata={"orderId": "o"})
        self.sandbox.add(broken)
        shop.enqueue("o", attempted_at=self.at)
        shop.enqueue("elsewhere", attempted_at=after(self.at, minutes=-30))
        self.settle(shop, 76)
        self.expect(shop, "o", "needs_review", reason="could not be understood")
        self.expect(shop, "elsewhere", "not_charged", "absence")
        rows = shop.ledger("SELECT * FROM quarantine")
        self.assertEqual([row["transaction_id"] for row in rows], [broken["transactionId"]])
        self.assertIn("amount", rows[0]["reason"])
        self.sandbox.remove()
        mended = {**broken, "amount": "49.00"}
        self.sandbox.add(mended)
        self.settle(shop)
        self.expect(shop, "o", "charged", "reference", mended)
        self.assertEqual(shop.ledger("SELECT * FROM quarantine"), [])

    def test_record_without_a_time_is_in_every_way(self):
        shop = self.shop()
        text = json.dumps(self.sale(transDate=None, createdAt="soon"))
        self.sandbox.add_raw(text, created_at=after(self.at, minutes=14))
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop, 76)
        self.expect(shop, "o", "needs_review", reason="could not be understood")

    def test_sale_is_found_beside_it(self):
        shop = self.shop()
        sale = self.sale("o")
        self.sandbox.add(sale, self.sale(amount=None), self.sale(currency="dollars"),
                         self.sale(transactionType=None))
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop, 76)
        self.expect(shop, "o", "charged", "reference", sale)
        self.assertEqual(len(shop.ledger("SELECT * FROM quarantine")), 3)


class Absence(VerdictCase):
    def test_nothing_is_said_before_the_grace_is_over(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=ago(minutes=14))
        shop.enqueue("p", attempted_at=ago(seconds=1))
        self.settle(shop)
        self.expect(shop, "o", "pending")
        self.expect(shop, "p", "pending")

    def test_a_longer_grace_is_told_once_and_not_at_each_start(self):
        shop = self.shop()
        self.sandbox.add(*[self.sale() for _ in range(3)])
        self.assertNotIn("seen to come late", self.settle(shop))
        ledger = sqlite3.connect(shop.ledger_path)
        for late, told in ((20, True), (20, False), (30, True), (30, False)):
            with ledger:
                ledger.execute("UPDATE transactions SET late_ms = ?", (late * 60000,))
            said = self.settle(shop)
            self.assertEqual(f"absence is said after {late}min" in said, told, (late, said))
            self.assertEqual(shop.ledger("SELECT value FROM meta WHERE name = 'absence_grace_ms'"),
                             [{"value": str(late * 60000)}])
        ledger.close()

    def test_a_clock_that_was_set_ahead_holds_absence_for_one_grace(self):
        """The daemon had seen it set ahead by years, and was stopped; now it is right again."""
        shop = self.shop(after="1s", absence_grace="3s")
        with contextlib.closing(sqlite3.connect(shop.ledger_path)) as ledger, ledger:
            ledger.execute("INSERT INTO meta (name, value) VALUES ('absence_held_until',"
                           " '2099-01-01T00:00:00.000Z')")
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "pending")
        held = shop.ledger("SELECT value FROM meta WHERE name = 'absence_held_until'")[0]["value"]
        self.assertLess(held, iso(after(now(), seconds=3)))
        window, = [row for row in json.loads(shop.ctl("explain", "o", "--format", "json").stdout)
                   if row["section"] == "window"]
        self.assertEqual(window["absence_is_proven_by_passes_since"][:19], held[:19])
        wait_until(lambda: iso(now()) > held, 5)
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")

    def test_charge_is_said_at_once(self):
        self.at = ago(seconds=90)
        self.alone({"card_last_four": "4242"}, self.sale(minutes=0.1), rule="identity")

    def test_proof_is_a_pass_that_began_after_the_grace(self):
        shop = self.shop(before="1s", after="1s", absence_grace="3s", sync={"edge_lag": "0"})
        attempt = now()
        shop.enqueue("o", attempted_at=attempt)
        wait_until(lambda: now() > after(attempt, seconds=2.1), 5)
        self.settle(shop)
        self.expect(shop, "o", "pending")
        covered = shop.ledger("SELECT min(covered_from) AS a, max(covered_to) AS b"
                              " FROM sync_coverage")[0]
        self.assertTrue(covered["a"] <= iso(after(attempt, seconds=-1)) and
                        covered["b"] >= iso(after(attempt, seconds=1)), covered)
        wait_until(lambda: now() > after(attempt, seconds=3.1), 5)
        # The window was read, but too early to prove anything; with the API down it stays so.
        self.sandbox.answer(path="/transQuery", status=503)
        self.settle(shop, 75)
        self.expect(shop, "o", "pending")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        passes = shop.ledger("SELECT r.* FROM verdict_runs JOIN sync_runs r USING (run_id)")
        self.assertTrue(passes)
        for one in passes:
            self.assertGreater(one["began_at"], iso(after(attempt, seconds=3)))
            self.assertEqual(one["outcome"], "complete")

    def test_no_odd_answer_proves_an_absence(self):
        sale = self.sale("o")
        page = {"transactions": [sale], "pagination": {"hasNextPage": False, "total": 1}}
        text = json.dumps(page)
        answers = {
            "not success": ({"body": {"success": False, **page, "transactions": []}}, 76),
            "no list": ({"body": {"pagination": {"hasNextPage": False}}}, 76),
            "no pagination": ({"body": {"transactions": []}}, 76),
            "fewer than the total": ({"body": {"transactions": [],
                                               "pagination": {"hasNextPage": False, "total": 1}}},
                                     76),
            "a page that never ends": ({"body": {"transactions": [],
                                                 "pagination": {"hasNextPage": True}}}, 76),
            "not JSON": ({"body": "<html>"}, 76),
            "cut off": ({"body": text, "truncate": len(text) // 2}, 75),
            "server error": ({"status": 500}, 75),
            "closed": ({"close": True}, 75),
            "refused": ({"status": 401}, 77),
            "no such page": ({"status": 404}, 76),
            "elsewhere": ({"status": 302, "headers": {"Location": "/transQuery"}}, 76),
        }
        for name, (answer, code) in answers.items():
            with self.subTest(name):
                shop = self.shop()
                shop.enqueue("o", attempted_at=self.at)
                self.sandbox.answer(path="/transQuery", times=0, **answer)
                done = shop.once()
                self.sandbox.forget_answers()
                self.expect(shop, "o", "pending")
                self.assertEqual(done.returncode, code, done.stderr)
        self.sandbox.add(sale)
        self.settle(shop)
        self.expect(shop, "o", "charged", "reference", sale)

    def test_history_that_is_not_fetched_proves_nothing_else(self):
        # The order's own window is read even where it lies before the ledger's history.
        shop = self.shop(sync={"backfill": "5min", "overlap": "5min"})
        sale = self.sale("o")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        shop.enqueue("none", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "charged", "reference", sale)
        self.expect(shop, "none", "not_charged", "absence")


class Revisions(VerdictCase):
    def test_late_record_takes_not_charged_back(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        first = self.expect(shop, "o", "not_charged", "absence")
        sale = self.sale()
        self.sandbox.add(sale)
        said = self.settle(shop)
        row = self.expect(shop, "o", "charged", "identity", sale)
        self.assertRegex(said, r"(?m)^critical: order o: not_charged is taken back")
        self.assertEqual((first["revision"], row["revision"]), (1, 2))
        rows = shop.ledger("SELECT * FROM verdicts ORDER BY revision")
        self.assertEqual([(one["verdict"], one["safe_to_retry"]) for one in rows],
                         [("not_charged", 1), ("charged", 0)])
        self.assertLessEqual(rows[0]["decided_at"], rows[1]["decided_at"])

    def test_same_facts_give_no_new_row(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        shop.enqueue("charged", attempted_at=self.at, card_last_four="4242")
        shop.enqueue("absent", "1.00", self.at)
        for _ in range(3):
            self.settle(shop)
        self.assertEqual(len(shop.ledger("SELECT * FROM verdicts")), 2)

    def test_record_that_vanishes_is_still_evidence(self):
        shop = self.shop()
        sale = self.sale("o")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.sandbox.remove()
        shop.once()
        self.expect(shop, "o", "charged", "reference", sale)

    def test_further_attempt_reopens_and_widens(self):
        shop = self.shop()
        # In neither attempt's own window: between them.
        sale = record(after(self.at, minutes=22))
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        second = ago(minutes=20)
        shop.enqueue("o", attempted_at=second, card_last_four="4242")
        self.settle(shop)
        row = self.expect(shop, "o", "charged", "identity", sale)
        self.assertEqual(self.history(shop, "o"), ["not_charged", "pending", "charged"])
        self.assertEqual((row["first_attempt_at"], row["last_attempt_at"]),
                         (iso(self.at), iso(second)))

    def test_further_attempt_takes_back_the_leave_to_retry_at_once(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "absence")
        shop.enqueue("o", attempted_at=ago(seconds=2))
        self.sandbox.answer(path="/transQuery", status=503, times=0)
        self.settle(shop, 75)
        self.expect(shop, "o", "pending")

    def test_earlier_attempt_told_late_widens_too(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=ago(minutes=20), card_last_four="4242")
        self.settle(shop)
        sale = self.sale()
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.expect(shop, "o", "charged", "identity", sale)

    def test_each_attempt_has_its_own_amount_and_card(self):
        shop = self.shop()
        sale = self.sale(amount="39.00", cardLastFour="1111", cardBin=None, email=None)
        mixed = self.sale(amount="39.00", cardLastFour="4242", cardBin=None, email=None)
        self.sandbox.add(sale, mixed)
        shop.enqueue("o", "39.00", self.at, card_last_four="1111")
        shop.enqueue("o", "49.00", after(self.at, minutes=2), card_last_four="4242")
        self.settle(shop)
        self.assertEqual(self.expect(shop, "o", "charged", "identity", sale)["amount"], "49.00")

    def test_two_attempts_that_both_went_through_are_a_double_charge(self):
        shop = self.shop(claims="complete")
        sales = [self.sale(minutes=1), self.sale(minutes=25)]
        self.sandbox.add(*sales)
        for minutes in (0, 24):
            shop.enqueue("o", attempted_at=after(self.at, minutes=minutes), card_last_four="4242")
        self.settle(shop)
        self.assertEqual(shop.verdict("o")["verdict"], "double_charged")


class People(VerdictCase):
    def resolve(self, shop, *arguments, code=0):
        done = shop.ctl("resolve", *arguments)
        self.assertEqual(done.returncode, code, done.stderr)

    def test_decision_overrides_and_facts_do_not_override_it(self):
        shop = self.shop()
        sale = self.sale("o", amount="49.01")
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "needs_review")
        self.resolve(shop, "o", "charged", "--transaction", sale["transactionId"],
                     "--note", "the cent is ours")
        self.settle(shop)
        row = self.expect(shop, "o", "charged", "person", sale, reason="the cent is ours")
        self.assertTrue(row["decided_by"])
        self.sandbox.add(self.sale("o"), record(after(self.at, minutes=9),
                                                transactionType="CreditCardVoid",
                                                originalTransactionId=sale["transactionId"]))
        shop.claim("another", "o")
        said = self.settle(shop)
        self.expect(shop, "o", "charged", "person", sale)
        self.assertEqual(self.history(shop, "o"), ["needs_review", "charged"])
        self.assertNotIn("critical", said)

    def test_another_person_changes_it(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=self.at)
        self.sandbox.add(self.sale())
        self.settle(shop)
        self.resolve(shop, "o", "not_charged", "--note", "the bank says no")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "person", reason="the bank says no")
        shop.queue("INSERT INTO resolutions (order_id, decision, note, decided_by)"
                   " VALUES ('o', 'charged', 'the bank was wrong', 'bob')")
        said = self.settle(shop)
        row = self.expect(shop, "o", "charged", "person", reason="the bank was wrong")
        self.assertEqual(row["decided_by"], "bob")
        self.assertRegex(said, r"(?m)^critical: ")
        self.assertEqual(self.history(shop, "o"), ["needs_review", "not_charged", "charged"])

    def test_decision_gives_the_sale_to_one_of_two(self):
        shop = self.shop()
        sale = self.sale()
        self.sandbox.add(sale)
        for order in "ab":
            shop.enqueue(order, attempted_at=self.at, card_last_four="4242")
        self.settle(shop)
        self.resolve(shop, "a", "charged", "--transaction", sale["transactionId"], "--note", "seen")
        self.settle(shop)
        self.expect(shop, "a", "charged", "person", sale)
        self.expect(shop, "b", "not_charged", "absence")

    def test_decision_gives_no_leave_to_repeat_what_was_attempted_after_it(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=self.at)
        self.sandbox.add(self.sale())
        self.settle(shop)
        self.resolve(shop, "o", "not_charged", "--note", "the sale is another's")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "person")
        # An attempt from before the decision, told only now, is covered by it.
        shop.enqueue("o", attempted_at=after(self.at, minutes=1))
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "person")
        # The app charges again, as it may, and again there is no answer.
        shop.enqueue("o", attempted_at=now())
        self.settle(shop)
        self.expect(shop, "o", "pending")
        self.resolve(shop, "o", "not_charged", "--note", "nor was this")
        self.settle(shop)
        self.expect(shop, "o", "not_charged", "person", reason="nor was this")

    def test_decision_and_order_may_come_in_any_order(self):
        shop = self.shop()
        shop.queue("INSERT INTO resolutions (order_id, decision, note, decided_by)"
                   " VALUES ('o', 'charged', 'known before', 'ann')")
        self.settle(shop)
        shop.enqueue("o", attempted_at=self.at)
        self.settle(shop)
        self.expect(shop, "o", "charged", "person", reason="known before")


class UnclaimedSales(VerdictCase):
    def sales(self, claims):
        shop = self.shop(claims=claims)
        claimed, matched = self.sale(amount="1.00"), self.sale(amount="2.00")
        doubtful, stray = self.sale(amount="3.00"), self.sale(amount="4.00")
        self.sandbox.add(claimed, matched, doubtful, stray,
                         self.sale(amount="5.00", status="declined"),
                         self.sale(amount="6.00", transactionType="CreditCardReturn"))
        shop.claim(claimed["transactionId"], "answered")
        shop.enqueue("matched", "2.00", self.at, card_last_four="4242")
        shop.enqueue("doubtful", "3.00", self.at)
        self.settle(shop)
        self.expect(shop, "matched", "charged", "identity", matched)
        self.expect(shop, "doubtful", "needs_review")
        found = shop.ledger("SELECT transaction_id FROM unclaimed_sales")
        return [row["transaction_id"] for row in found], stray["transactionId"]

    def test_what_belongs_to_no_order_when_every_sale_is_claimed(self):
        found, stray = self.sales("complete")
        self.assertEqual(found, [stray])

    def test_nothing_is_a_finding_when_claims_are_partial(self):
        self.assertEqual(self.sales("partial")[0], [])


if __name__ == "__main__":
    unittest.main()

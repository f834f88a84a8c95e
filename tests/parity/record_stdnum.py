"""Writes stdnum.json: what python-stdnum says of random numbers, in an environment of its own.

pip install python-stdnum
python tests/parity/record_stdnum.py
"""

import json
import random
from pathlib import Path

from stdnum import iban, luhn
from stdnum.kr import rrn


def main():
    rng = random.Random(0)

    def digits(n):
        return "".join(rng.choices("0123456789", k=n))

    cards = [digits(rng.choice([14, 15, 16, 19])) for _ in range(300)]
    cards += [card[:-1] + luhn.calc_check_digit(card[:-1]) for card in cards[:100]]
    residents = [
        f"{rng.randint(20, 99):02}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
        f"{rng.choice('12')}{rng.randint(0, 95):02}{digits(3)}"
        for _ in range(300)
    ]
    residents = [one + rng.choice([rrn.calc_check_digit(one + "0"), digits(1)]) for one in residents]
    accounts = []
    for country, body in (("DE", 18), ("FR", 23), ("CH", 17), ("NL", 14), ("NO", 11), ("AT", 16)):
        for _ in range(30):
            account = (("ABNA" + digits(10)) if country == "NL" else digits(body))[:body]
            right = iban.calc_check_digits(f"{country}00{account}")
            accounts.append(f"{country}{rng.choice([right, right, f'{rng.randint(2, 98):02}'])}{account}")
    found = {
        "luhn": {one: luhn.is_valid(one) for one in cards},
        "resident": {one: rrn.is_valid(one, allow_future=True) for one in residents},
        "iban": {one: iban.is_valid(one, check_country=False) for one in accounts},
    }
    Path(__file__).with_name("stdnum.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    print({kind: (len(rows), sum(rows.values())) for kind, rows in found.items()})


if __name__ == "__main__":
    main()

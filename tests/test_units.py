"""What the units of the configuration promise."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mailerq.units import parse_rate, parse_size, parse_time, parse_times, parse_whole


class Units(SynchronousTestCase):
    """Texts to numbers."""

    def refused(self, parse: Callable[[str], object], *texts: str) -> None:
        for text in texts:
            with self.assertRaises(ValueError, msg=text):
                parse(text)

    def test_times(self) -> None:
        """Times are seconds, of every unit and of several together."""
        for text, seconds in {
            "500ms": 0.5,
            "5s": 5,
            "10m": 600,
            "1h": 3600,
            "1d": 86400,
            "1h30m": 5400,
            "0": 0,
        }.items():
            self.assertEqual(parse_time(text), seconds)
        self.assertEqual(parse_time(" 1.5s "), 1.5)

    def test_no_times(self) -> None:
        """What is no time is refused, and so is a number without unit, which says what to write."""
        self.refused(parse_time, "", "s", "5 s", "-5s", "5x", "1:30", "5S", "1e3s", "\u0665s", "99999d", "5s\n3", "nan")
        with self.assertRaisesRegex(ValueError, "30s"):
            parse_time("30")

    def test_lists_of_times(self) -> None:
        """A list is separated by commas, and a star repeats."""
        self.assertEqual(parse_times("10m, 10m,1h"), (600, 600, 3600))
        self.assertEqual(parse_times("10m*3, 1h"), (600, 600, 600, 3600))
        self.refused(parse_times, "", ",", "10m,", "10m*", "10m*0", "10m*x", "10m*99999", "10m 10m", "1s*900,1s*900")

    def test_sizes(self) -> None:
        """KB are thousands, KiB are 1024, a bare number is bytes."""
        for text, size in {
            "10MB": 10**7,
            "64KB": 64000,
            "64kb": 64000,
            "64KiB": 65536,
            "1.5 GB": 15 * 10**8,
            "7": 7,
        }.items():
            self.assertEqual(parse_size(text), size)
        self.refused(parse_size, "", "MB", "10XB", "-1MB", "1e3")

    def test_rates(self) -> None:
        """Rates are per minute, whatever they are written per."""
        for text, rate in {"30": 30, "600/h": 10, "5/s": 300, "30/m": 30, "1440/d": 1, "0.5": 0.5}.items():
            self.assertAlmostEqual(parse_rate(text), rate)
        self.assertEqual(parse_rate("10MB/s", size=True), 6e8)
        self.refused(parse_rate, "", "/s", "5/", "5/x", "10MB", "-1")

    def test_whole_numbers(self) -> None:
        """Numbers are decimal; the octal ones of YAML are refused."""
        self.assertEqual([parse_whole(text) for text in ("0", "25", "-3")], [0, 25, -3])
        self.refused(parse_whole, "", "1.0", "1e3", "0x10", "1_000", "+1", "\u0665")
        with self.assertRaisesRegex(ValueError, "octal"):
            parse_whole("010")

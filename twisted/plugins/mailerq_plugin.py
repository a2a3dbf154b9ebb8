"""``twistd mailerq``."""

from twisted.application.service import ServiceMaker

mailerq = ServiceMaker("mailerq", "mailerq.start", "Deliver mail from a queue by SMTP.", "mailerq")

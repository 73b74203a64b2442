"""The four ways Forebay's own work can fail; each is translated at one rim (HTTP answer, settle, command line)."""


class ForebayError(Exception):
    """What went wrong, in a sentence for a person, with the remedy where there is one."""


class SpecError(ForebayError):
    """Something a person wrote (a manifest, a setting, a flag) can not be used as it is."""


class Unavailable(ForebayError):
    """A part that is needed (broker, management API, destination) can not be reached now; trying later may help."""


class Busy(ForebayError):
    """A limit of our own is reached; trying a little later will help."""


class Rejected(ForebayError):
    """The other side understood and said no; trying again changes nothing."""

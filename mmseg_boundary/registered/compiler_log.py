"""What the losses say of torch's compiler, in MMEngine's log: that they run uncompiled."""

import logging

from mmengine.logging import MMLogger

from ..losses import compiled


class CompilerLog(logging.Handler):
    """Puts the first such sentence of a training into its log; all of them are warnings."""

    told: MMLogger | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Of each kernel there may be one: in a log, one says it."""
        log = MMLogger.get_current_instance()
        if log is not self.told:
            self.told = log
            log.log(record.levelno, record.getMessage())


compiled.logger.addHandler(CompilerLog())

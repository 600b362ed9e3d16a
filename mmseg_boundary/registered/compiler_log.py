"""Puts what the losses say of their compilation into MMEngine's log."""

import logging

from mmengine.logging import MMLogger

from .. import compiled


class CompilerLog(logging.Handler):
    """Puts the first announcement and the first warning of a training into its log."""

    told: tuple[MMLogger | None, set[int]] = (None, set())

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the first record of each level; there may be one per kernel."""
        log = MMLogger.get_current_instance()
        if log is not self.told[0]:
            self.told = log, set()
        if record.levelno not in self.told[1]:
            self.told[1].add(record.levelno)
            log.log(record.levelno, record.getMessage())


compiled.logger.setLevel(logging.INFO)
compiled.logger.addHandler(CompilerLog())

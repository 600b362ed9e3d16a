"""Puts the losses' warnings that they run uncompiled into MMEngine's log."""

import logging

from mmengine.logging import MMLogger

from ..losses import compiled


class CompilerLog(logging.Handler):
    """Puts the first such warning of a training into its log."""

    told: MMLogger | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the first record; there may be one per kernel."""
        log = MMLogger.get_current_instance()
        if log is not self.told:
            self.told = log
            log.log(record.levelno, record.getMessage())


compiled.logger.addHandler(CompilerLog())

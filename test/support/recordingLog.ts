import type {Log, LogFields} from '../../shared/log.js';
import type {LogLevel} from '../../shared/logLevel.js';

/** Keeps what was told, for tests to look at. */
export class RecordingLog implements Log {
  readonly lines: {readonly level: LogLevel; readonly message: string; readonly fields: LogFields}[] = [];

  error(message: string, fields: LogFields = {}): void {
    this.lines.push({level: 'error', message, fields});
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({level: 'warn', message, fields});
  }
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({level: 'info', message, fields});
  }
  debug(message: string, fields: LogFields = {}): void {
    this.lines.push({level: 'debug', message, fields});
  }
  child(): Log {
    return this;
  }

  /** The messages of one level, in order. */
  at(level: LogLevel): string[] {
    return this.lines.filter(line => line.level === level).map(({message}) => message);
  }
}

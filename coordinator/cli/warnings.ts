/**
 * Keeps Node from telling that a TLS server name is an IP address (DEP0123). grpc-js sends one wherever an address is an IP, nobody who
 * reads the warning can change that, and it would stand above the output of every command. All other warnings are told.
 */
export function keepIpServerNamesQuiet(): void {
  const emitWarning = process.emitWarning.bind(process) as (...args: readonly unknown[]) => void;
  process.emitWarning = (...args: readonly unknown[]): void => {
    if (args[2] !== 'DEP0123') emitWarning(...args);
  };
}

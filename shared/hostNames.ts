/** What is told of a host's name that has no address, be the coordinator's or an agent's own. */
export function nameNotKnown(name: string): string {
  return `the name ${name} is not known here: no name server knows it, or none answers`;
}

export const KNOWN_NAMES_ADVICE = 'give an IP address, or a line for the name in /etc/hosts';

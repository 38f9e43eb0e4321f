// What core.js tells the pages, for the type checker. Never shipped.

/** asker: of a line, said by the host that asks for sudo. */
export type Quality = 'unknown' | 'claimed' | 'verified' | 'asker';
export type KeyKind = 'passkey' | 'vault' | 'passphrase';

export interface Computer {
	id: string;
	name: string;
	connected: boolean;
	connecting?: boolean;
	since?: number; // Unix milliseconds, as all times that are numbers; 0: none
	clockDifferenceSeconds?: number;
	opensshVersion?: string;
	lastError?: string;
}

export interface Identity {
	fingerprint: string;
	label: string;
	algorithm: string;
	kind: KeyKind;
	enabled: boolean;
	default: boolean;
	createdAt: number;
	backedUp: boolean | null;
	backupEligible?: boolean;
	principals?: string[] | null;
	authorizedKey: string;
	publicKey: string;
	warning?: string;
	rules?: Rules | null;
}

export interface Rules {
	hosts?: string[] | null;
	oldServers?: boolean;
	users?: string[] | null;
	namespaces?: string[] | null;
	sudo?: string[] | null;
	forbid?: string[] | null;
	hours?: string;
}

export interface Grant {
	id: string;
	label: string;
	computer: string;
	what: string;
	since: number;
	until: number;
}

export interface Pause {
	computerID: string;
	computer: string;
	program?: string;
	until: number;
}

export interface PauseReport {
	decisions: Record<string, number>;
	asked: { what: string; server?: string; program?: string; times: number }[];
	lines: string;
}

export interface Host {
	fingerprint: string;
	names: string[];
	users: string[];
	firstSeen: number;
	lastSeen: number;
}

export interface ActivityReport {
	records: number;
	first: number;
	last: number;
	hash: string;
	unfinished?: number;
	problems: string[];
	logs?: LogReport[];
}

/** One of the logs: '' (decisions and changes), 'granted' or 'refused'. */
export interface LogReport {
	log: string;
	records: number;
	first: number;
	last: number;
	hash: string;
	open?: number;
	dropped?: Dropped;
}

export interface Dropped {
	records: number;
	until?: string;
	kinds?: Record<string, number>;
}

export interface Policy {
	maxValiditySeconds: number;
	automaticIssuance: boolean;
	principals: string[] | null;
	extensions: string[] | null;
	sourceAddress?: string[] | null;
	forceCommand?: string;
}

export interface CA {
	fingerprint: string;
	kind: KeyKind;
	line: string;
	policy: Policy;
	serverHint?: string;
}

export interface Certificate {
	serial: string;
	computer: string;
	identity: string;
	principals: string[] | null;
	validAfter: number;
	validBefore: number;
	issuedAt: number;
	revokedAt?: number;
}

export interface Support {
	webauthn: boolean;
	prf: 'yes' | 'no' | 'unknown';
	/** Whether to offer the vault that a passphrase opens. */
	passphrase: boolean;
	platformAuthenticator: boolean;
	persisted: boolean;
	/** How many bytes the browser lets the app store yet. */
	space?: number | null;
	/** broken: turned on, but pushProblem says why it does not work. */
	push: 'on' | 'off' | 'broken' | 'denied' | 'unsupported' | 'install';
	pushProblem?: Failure | null;
	/** Whether the browser lets the app into the network of this device. */
	localNetwork?: 'granted' | 'prompt' | 'denied' | 'unsupported';
}

export interface Line {
	name: string;
	value: string;
	quality: Quality;
	warning?: boolean;
}

export interface Sheet {
	id: string;
	kind: 'sign' | 'certificate';
	computer: string;
	computerID: string;
	label: string;
	fingerprint: string;
	keyKind: KeyKind;
	expires: number;
	waiting: number;
	ready: boolean;
	// sign
	quality?: Quality;
	title?: string;
	mustAcknowledge?: boolean;
	acknowledgement?: string;
	hostChanged?: boolean;
	downgraded?: boolean;
	grantable?: boolean;
	again?: number;
	listed?: Line[] | null;
	lines?: Line[] | null;
	// certificate
	automatic?: boolean;
	validitySeconds?: number;
	maxValiditySeconds?: number;
	principals?: string[] | null;
	choices?: string[] | null;
}

export interface SheetEnd {
	id: string;
	outcome: string;
	message?: string;
}

export interface State {
	version: string;
	hub: { url: string; connected: boolean; error?: string };
	deviceName: string;
	deviceID: string;
	rpID: string;
	rpProblem?: string;
	support: Support;
	vanished?: '' | 'all' | 'key';
	/** How many keys are in the vault that a passphrase opens. */
	passphrases: number;
	computers: Computer[] | null;
	identities: Identity[] | null;
	ca: CA | null;
	certificates: Certificate[] | null;
	grants?: { enabled: boolean; list: Grant[] };
	pauses?: Pause[] | null;
	secondWay?: SecondWay;
	sheets: Sheet[] | null;
}

/** What is known of a way in beside this phone. Labels of keys. */
export interface SecondWay {
	at: number; // of the last backup
	uncovered: string[];
	missing: string[];
	alone: boolean;
}

export interface MadeBackup {
	file: string; // base64
	keys: string[] | null;
	ca: boolean;
	servers: number;
	certificates: number;
	missing: { label: string; publicKey: string; provider: string }[] | null;
}

export interface Outcome {
	what: 'key' | 'ca' | 'certificates' | 'servers' | string;
	name: string;
	state: 'restored' | 'kept' | 'differs' | 'missing' | string;
	text: string;
	publicKey?: string;
}

export interface FoundBackup {
	createdAt: number;
	outcomes: Outcome[];
	needsKeys: boolean;
}

export interface ActivityRecord {
	id?: number;
	time: string;
	kind: 'sign' | 'certificate' | 'key' | string;
	requestID: string;
	deviceID: string;
	deviceName: string;
	label?: string;
	key?: string;
	contextQuality?: Exclude<Quality, 'asker'>;
	what?: string;
	lines?: Line[] | null;
	grant?: boolean;
	decision: string;
	code?: string;
	message?: string;
	serial?: string;
	principals?: string[] | null;
	validBefore?: string;
	/** Of merged requests: how many (nothing is one), when the last ended, what they asked for. */
	count?: number;
	until?: string;
	asked?: { what: string; server?: string; program?: string; times: number }[];
}

export interface Decision {
	validitySeconds?: number;
	principals?: string[];
	grantSeconds?: number;
	acknowledged?: boolean;
	joined?: string[];
}

export interface Failure {
	code?: string;
	message: string;
	hint?: string;
}

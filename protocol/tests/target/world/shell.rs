//! The shell: it does what the operation code of a command says, and writes events down.

use super::*;

impl World {
    pub(super) fn on_error(&mut self, error: &PeerError) {
        self.end_run();
        self.say(format!("= closed: {error}"));
        self.closed = true;
    }

    pub(super) fn on_bytes(&mut self, task: TaskId, offset: u32, bytes: &[u8]) {
        let job = self.jobs.get_mut(&task).expect("data of a task that is known");
        let itt = job.command.itt;
        assert_eq!(offset as usize, job.buffer.len(), "data comes in order");
        job.buffer.extend_from_slice(bytes);
        let end = u32::try_from(job.buffer.len()).unwrap();
        assert!(end <= job.accepted, "data above the bound");
        match &mut self.run {
            Some((of, _, to)) if *of == itt && *to == offset => *to = end,
            _ => {
                self.end_run();
                self.run = Some((itt, offset, end));
            }
        }
    }

    pub(super) fn end_run(&mut self) {
        if let Some((itt, from, to)) = self.run.take() {
            self.say(format!("= data {} {}..{}", itt.0, size(from), size(to)));
        }
    }

    pub(super) fn on_event(&mut self, event: Event<'_>) {
        if let Event::WriteData { task, offset, bytes } = event {
            return self.on_bytes(task, offset, bytes);
        }
        self.end_run();
        match event {
            Event::WriteData { .. } => unreachable!("taken above"),
            Event::Command(command) => self.on_command(command),
            Event::WriteReady(task) => {
                self.say(format!("= ready {}", self.jobs[&task].command.itt.0));
                self.on_ready(task);
            }
            Event::DataFailed { task, fault } => {
                self.say(format!("= failed {} {fault:?}", self.jobs[&task].command.itt.0));
                self.complete(task, 2, 0, 0);
            }
            Event::Manage(manage) => {
                let tags = manage.tasks.iter().map(|task| self.jobs[task].command.itt.0);
                let tags: Vec<u32> = tags.collect();
                self.say(format!("= manage {:?} {tags:?}", manage.function));
            }
            Event::SendTargets { which, .. } => {
                let which = match which {
                    Targets::Name(name) => name.to_string(),
                    other => format!("{other:?}"),
                };
                self.say(format!("= targets {which}"));
            }
            Event::Logout { .. } => self.say("= logout"),
            Event::Pong => self.say("= pong"),
            Event::Ended => self.say("= ended"),
        }
    }

    fn on_command(&mut self, command: Command) {
        let unsolicited = match command.unsolicited_len {
            0 => String::new(),
            len => format!(", unsolicited {}", size(len)),
        };
        self.say(format!("= command {}{unsolicited}", command.itt.0));
        let task = command.task;
        self.jobs.insert(task, Job { command, buffer: Vec::new(), accepted: 0 });
        let wanted = u32::from_be_bytes(command.cdb[2..6].try_into().unwrap());
        match command.cdb[0] {
            op::NOTHING => self.complete(task, 0, 0, 0),
            op::READ => self.complete(task, 0, wanted.min(command.expected_len), wanted),
            op::READ_IN_BURSTS => {
                for up_to in (ROOM..wanted).step_by(ROOM as usize) {
                    self.conn.send_data(task, up_to);
                }
                self.complete(task, 0, wanted, wanted);
            }
            op::WRITE => self.accept(task, ROOM),
            op::REFUSED => self.complete(task, 2, 0, 0),
            _ => {}
        }
    }

    pub(crate) fn accept(&mut self, task: TaskId, up_to: u32) {
        let job = self.jobs.get_mut(&task).unwrap();
        job.accepted = up_to.min(job.command.expected_len);
        self.conn.accept_data(task, up_to);
    }

    fn on_ready(&mut self, task: TaskId) {
        let job = &self.jobs[&task];
        assert_eq!(job.buffer.len(), job.accepted as usize, "ready means everything is here");
        assert!(
            job.buffer == pattern(job.command.itt, 0, job.accepted),
            "the data is the sender's"
        );
        let wanted = u32::from_be_bytes(job.command.cdb[2..6].try_into().unwrap());
        if job.command.cdb[0] == op::HELD {
            return;
        }
        if job.accepted < job.command.expected_len {
            let up_to = job.accepted + ROOM;
            self.accept(task, up_to);
        } else {
            self.complete(task, 0, 0, wanted);
        }
    }

    pub(crate) fn complete(&mut self, task: TaskId, status: u8, data_in: u32, wanted: u32) {
        let sense = (status == 2).then(|| Bytes::from_static(&[0x70, 0, 5, 0, 0, 0, 0, 10]));
        let wanted = u64::from(wanted);
        self.conn.complete(task, Outcome { status, sense, data_in, wanted });
    }

    pub(crate) fn task(&self, itt: Itt) -> TaskId {
        let job = self.jobs.values().rev().find(|job| job.command.itt == itt);
        job.expect("the shell has seen the task").command.task
    }
}

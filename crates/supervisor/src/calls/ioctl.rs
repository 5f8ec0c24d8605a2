//! `ioctl(2)` with the numbers of VFIO and IOMMUFD.

use swiommu_files::{Arg, FdNumber};

use super::{Service, refuse};
use crate::client::Client;
use crate::listener::{Notification, Reply};

impl Service {
    pub(super) fn ioctl(&self, notification: &Notification) -> Reply {
        let fd = FdNumber(notification.int(0));
        let Some((thread, served)) = self.served(notification, fd) else {
            return Reply::Continue;
        };
        let client = match Client::new(self, notification, &thread, Some(fd)) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        let result = served.file.ioctl(
            &client,
            notification.uint(1),
            Arg::new(notification.args[2]),
        );
        match result {
            Ok(value) => Reply::Return(value.into()),
            Err(refusal) => Reply::Fail(refuse(&client, "ioctl", &refusal)),
        }
    }
}
